"""`python -m tests.fleet`: see `many`; `python -m tests.fleet faults`: see `faults`."""

import sys

from tests.fleet import faults, many

if __name__ == "__main__":
    if sys.argv[1:2] == ["faults"]:
        sys.exit(faults.main(sys.argv[2:]))
    many.main()

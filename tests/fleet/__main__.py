"""`python -m tests.fleet`: see `many`."""

from tests.fleet.many import main

if __name__ == "__main__":
    main()

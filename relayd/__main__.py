"""Run the command line as `python -m relayd`."""

from relayd.cli.main import run

if __name__ == "__main__":
    run()

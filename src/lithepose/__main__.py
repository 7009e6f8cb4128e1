"""`python -m lithepose` is the command `lithepose`."""

from lithepose.cli import main

if __name__ == "__main__":
    main(prog_name="lithepose")

"""`python -m graphmerge.cli`."""

from graphmerge.cli.app import main

if __name__ == "__main__":
    main()

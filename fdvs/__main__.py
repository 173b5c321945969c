"""`python -m fdvs`: the command line, also where no `fdvs` is on the search path."""

from fdvs.cli.main import main

if __name__ == "__main__":
    main()

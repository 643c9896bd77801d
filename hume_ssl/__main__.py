"""`python -m hume_ssl`, the same as the command `hume-ssl`; torchrun needs it."""

from hume_ssl.cli import main

if __name__ == "__main__":
    main()

"""`python -m sparnet` is `sparnet`."""

from sparnet.cli import main

main()

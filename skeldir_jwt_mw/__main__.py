"""`python -m skeldir_jwt_mw` is `skeldir-jwt`."""

from .cli import main

main()

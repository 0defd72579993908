"""Runs the command-line program as `python -m mm_face_stylizer`."""

from mm_face_stylizer.cli import main

raise SystemExit(main())

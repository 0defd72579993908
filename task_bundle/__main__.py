"""Runs the `task-bundle` command as `python -m task_bundle`."""

import sys

from task_bundle.cli import main

sys.exit(main())

"""``python -m promptdetox``."""

from promptdetox.cli import main

raise SystemExit(main())

"""``python -m kd_plugins`` is the command line; ``torchrun -m kd_plugins`` starts it in several processes."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())

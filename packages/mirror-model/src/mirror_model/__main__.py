"""``python -m mirror_model``, which launchers such as torchrun start."""

from mirror_model.cli.main import main

if __name__ == "__main__":
    main()

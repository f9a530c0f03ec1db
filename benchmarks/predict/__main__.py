"""Entry point of `python -m benchmarks.predict`."""

from benchmarks.predict.rates import main

if __name__ == "__main__":
    main()

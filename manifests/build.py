"""`python manifests/build.py ...` is `maskspec-build ...` for those who have a checkout."""

import sys

from maskspec_fairseq.cli.build import main

if __name__ == "__main__":
    sys.exit(main())

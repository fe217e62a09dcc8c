"""Write fairseq manifests: `python manifests/build.py CORPUS ... --out DATA_DIR`, or `maskspec-build`."""

import sys

from maskspec_fairseq.cli.build import main

if __name__ == "__main__":
    sys.exit(main())

"""Start a module of this folder on the runner: `python3 run.py MODULE ARGUMENTS`.

Copied to /home/machine, beside the folder `ci` with these modules: started from there, Python does
not look for modules in the workspace, which has a folder `ci` too.
"""

import runpy
import sys

if __name__ == "__main__":
    del sys.argv[0]
    runpy.run_module(f"ci.rehearsal.runner.inside.{sys.argv[0]}", run_name="__main__")

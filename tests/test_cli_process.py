"""The command line as a process of its own."""

import subprocess
import sys


def in_a_fresh_process(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_the_script_keeps_torch_out_of_its_process():
    """transformers imports it wherever it is installed, as it is here."""
    program = (
        "import contextlib, sys\n"
        "from engine import cli\n"
        "sys.argv = ['fovea', '--version']\n"
        "with contextlib.suppress(SystemExit):\n"
        "    cli.run()\n"
        "import transformers.utils\n"
        "print(transformers.utils.is_torch_available())"
    )
    version, torch_is_available = in_a_fresh_process(program).splitlines()
    assert version.startswith("fovea ")
    assert torch_is_available == "False"

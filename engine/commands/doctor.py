"""`fovea doctor`: prints what the checks found.

Knows nothing of what they look at.
"""

import argparse
from dataclasses import asdict

from engine.commands.arguments import Parser, add_output_flags
from engine.commands.context import Context
from engine.doctor import Check, Verdict, examine


def add_arguments(parser: Parser) -> None:
    add_output_flags(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """1 when something is broken."""
    terminal = context.terminal
    checks: list[Check] = []
    for check in examine(context.settings):
        checks.append(check)
        if not arguments.json:
            terminal.write(check_text(check))
    broken = any(check.verdict is Verdict.BROKEN for check in checks)
    if arguments.json:
        terminal.write_json({"ok": not broken, "checks": [check_object(check) for check in checks]})
    return 1 if broken else 0


def check_text(check: Check) -> str:
    remedy = f"{'':<11}{check.remedy}\n" if check.remedy else ""
    return f"{check.verdict.value:<11}{check.name}: {check.finding}\n{remedy}"


def check_object(check: Check) -> dict[str, object]:
    return asdict(check) | {"verdict": check.verdict.value}

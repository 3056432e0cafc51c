# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run one command: `python -m seg_ros VERB ...`, or `ros2 run seg_ros VERB ...`."""

import argparse
import ast
from collections.abc import Sequence
import importlib
from pathlib import Path
import pkgutil
import sys

from . import commands
from .commands._result import write_json

DONE, CHECK_FAILED, INPUT_ERROR, INTERRUPTED = 0, 1, 2, 130


def verbs() -> dict[str, str]:
    """List the verbs and the first line of what each does, without importing any of them."""
    listed = {}
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda module: module.name):
        if module.name.startswith('_') or module.ispkg:
            continue
        source = Path(commands.__path__[0], f'{module.name}.py').read_text(encoding='utf-8')
        description = ast.get_docstring(ast.parse(source)) or ''
        listed[module.name] = description.partition('\n')[0]
    return listed


def parse_verb(arguments: Sequence[str]) -> str:
    """Read the verb alone, so that only its own module is imported."""
    listed = verbs()
    width = max(map(len, listed), default=0)
    parser = argparse.ArgumentParser(
        prog='seg_ros',
        usage='seg_ros VERB [argument ...]',
        description='Semantic segmentation of camera images, for ROS 2 and without it.',
        epilog='verbs:\n'
        + '\n'.join(f'  {verb:<{width}}  {text}' for verb, text in listed.items())
        + '\n\n`seg_ros VERB --help` describes one.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('verb', metavar='VERB', choices=list(listed), help='what to do; see below')
    verb: str = parser.parse_args(arguments[:1]).verb
    return verb


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    :param arguments: the verb and its arguments; the process's own by default
    :returns: 0 when done, 1 if the check asked for failed, 2 for an error in usage or input,
        130 when interrupted
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verb = parse_verb(arguments)
    try:
        command = importlib.import_module(f'{commands.__name__}.{verb}')
        parser = argparse.ArgumentParser(
            prog=f'seg_ros {verb}',
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(parser)
        parser.add_argument('--json', metavar='PATH', help='write the result to this file as JSON')
        args = parser.parse_args(arguments[1:])
        if args.json and Path(args.json).is_dir():  # said before the work, not after it
            parser.error(f'--json: expected a file to write, found the folder {args.json}')
        try:
            result, code = command.run(args), DONE
        except commands.CheckFailed as failure:
            print(f'seg_ros {verb}: failed: {failure}', file=sys.stderr)
            result, code = failure.result, CHECK_FAILED
        if args.json and result is not None:
            write_json(args.json, result)
    except KeyboardInterrupt:
        print(f'seg_ros {verb}: interrupted', file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition('.')[0] == 'seg_ros':
            raise  # a mistake of ours, not something the user can install
        print(
            f'seg_ros {verb}: error: expected the Python module {error.name}, but it is not '
            'installed; doc/installation.md tells how',
            file=sys.stderr,
        )
        return INPUT_ERROR
    except (OSError, ValueError) as error:
        print(f'seg_ros {verb}: error: {error}', file=sys.stderr)
        return INPUT_ERROR
    return code


if __name__ == '__main__':
    sys.exit(main())

"""The command line: finds the verb, runs it, and turns errors into messages and exit codes.

Only click is imported here, and a verb when it is called, so that `--help` and a wrong option answer at once.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import sys
import warnings
from typing import TYPE_CHECKING

import click

from image_syncer_cli.display.output import clip, forgive, internal_error_lines, reopen, say
from image_syncer_cli.verb import MainGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

    from image_syncer import ConfigurationError


EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 70
"""An internal error (EX_SOFTWARE of sysexits.h)."""
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

_COLLECT_AFTER_OBJECTS_AT_START = 100_000
"""Imports make many objects and hardly a cycle: with Python's default, 700, a tenth of their time is collection."""
_MAX_LINES = 3
_OWN_OPTIONS = ("-h", "--help", "--version")
_GO_TOOL_OPTIONS = frozenset(
    {
        *("--auth", "--images", "--config", "--proc", "--retries", "--os", "--arch", "--force", "--log"),
        *("--output-success-images", "--output-images-format"),
    }
)
"""The options that are shown without a verb."""
_LOGINS = ("login", "logout")


class _DropIn(MainGroup):
    """The verbs; `sync` may be left out, so that command lines of the Go tool work unchanged."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in _OWN_OPTIONS:
            args = ["sync", *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        click.Command.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)
        from image_syncer_cli.verbs.sync import sync

        params = [param for param in sync.get_params(ctx) if set(param.opts) & _GO_TOOL_OPTIONS]
        with formatter.section("Options without a verb (all of them: image-syncer sync --help)"):
            formatter.write_dl([record for param in params if (record := param.get_help_record(ctx))])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from image_syncer_cli.verbs.sync import sync

        mine = super().shell_complete(ctx, incomplete)
        return [*mine, *sync.shell_complete(ctx, incomplete)] if incomplete.startswith("-") else mine


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import image_syncer

        click.echo(f"image-syncer {image_syncer.__version__}")
        ctx.exit()


@click.group(
    cls=_DropIn,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Copy container images between registries, by streaming, with bounded memory.

    \b
    image-syncer --auth auth.yaml --images images.yaml    what the files say
    image-syncer copy nginx:1.27 registry.example/nginx   one image, without files
    image-syncer demo                                     try it: needs no account
    """  # noqa: D301 - click's mark for "keep these lines" is the character itself
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(EXIT_USAGE)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1, 2, 70, 129, 130 or 143."""
    gc.set_threshold(_COLLECT_AFTER_OBJECTS_AT_START, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)  # so that the collections at the interpreter's end have nothing to look at: 7 ms
    words = _click_words(sys.argv[1:] if args is None else args)
    warnings.filterwarnings("ignore", "Possible", FutureWarning)  # about a user's regular expression
    # A core file would hold passwords. Programs that a core is piped to (core(5)) respect the limit too.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    reopen()
    forgive(sys.stdout, sys.stderr)
    if "_IMAGE_SYNCER_COMPLETE" in os.environ:
        from image_syncer_cli.verbs.completion import register_shells

        register_shells()
    try:
        code = cli.main(words, prog_name="image-syncer", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        say("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - every error becomes a sentence and an exit code
        if "--debug" in words:
            import traceback

            from image_syncer.errors import redact

            say(redact(traceback.format_exc().rstrip()), err=True)
        return _explain(error)
    return code if isinstance(code, int) else 0


def _click_words(args: Sequence[str]) -> list[str]:
    """Translate what Go's flag parser (spf13/pflag) takes and click does not: `-p=5`, `--force=true`."""
    words = []
    for word in args:
        if word.startswith(("-p=", "-r=")):
            words.append(word[:2] + word[3:])
        elif word.startswith("--force="):
            if word.partition("=")[2].lower() not in ("false", "f", "0"):
                words.append("--force")
        else:
            words.append(word)
    return words


def _explain(error: Exception) -> int:
    """Say on standard error what went wrong and what to do, and return the exit code."""
    if isinstance(error, click.ClickException):
        return _explain_usage(error)
    from image_syncer.errors import ConfigurationError, SyncError, redact

    if isinstance(error, ConfigurationError) and error.problems:
        return _explain_problems(error)
    if isinstance(error, SyncError):
        lines, code = str(error).splitlines(), error.exit_code
    elif isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        lines, code = [f"{place}{error.strerror or error}"], EXIT_FAILED
    else:
        lines, code = internal_error_lines(f"{type(error).__name__}: {error}"), EXIT_INTERNAL
    say(redact("Error: " + "\n".join(map(clip, lines[:_MAX_LINES]))), err=True)
    return code


def _explain_problems(error: ConfigurationError) -> int:
    """Say each problem in a line; the loader marks warnings among them."""
    mark = ": warning: "
    lines = [str(problem) for problem in error.problems]
    for line in lines:
        say(f"Warning: {line.replace(mark, ': ', 1)}" if mark in line else f"Error: {line}", err=True)
    mistakes = sum(mark not in line for line in lines)
    if mistakes > 1:
        say(f"{mistakes} problems; nothing was copied.", err=True)
    return error.exit_code


def _explain_usage(error: click.ClickException) -> int:
    from image_syncer.errors import redact

    context = error.ctx if isinstance(error, click.UsageError) else None
    message = error.message
    if isinstance(error, click.NoSuchOption) and context is not None:
        from image_syncer_cli.suggestions import nearest_option

        message = f"no such option: {error.option_name}.{nearest_option(error.option_name, context)}"
    else:
        message = error.format_message()
        if message.startswith("Got unexpected extra argument") and context and context.command.name in _LOGINS:
            message = message.partition(" (")[0] + "."  # a password, as likely as not
    say(clip(redact(f"Error: {message}")), err=True)
    say(f"  Try '{context.command_path if context else 'image-syncer'} --help'.", err=True)
    return EXIT_USAGE

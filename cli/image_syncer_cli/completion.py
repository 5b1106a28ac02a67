"""`image-syncer completion SHELL`: the script with which a shell completes our command lines."""

from __future__ import annotations

import click

from image_syncer_cli.verb import Verb

__all__ = ["completion"]


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which bash (4.4 or newer), zsh or fish completes verbs, options, choices and files.

    Read it in for one session (source <(image-syncer completion bash)), or keep it where the shell looks for such
    files. It stays the same when verbs and options change: the command itself is asked what may come next.
    """
    from image_syncer_cli.shell_scripts import script_for

    click.echo(script_for(shell, context.find_root().command), nl=False)

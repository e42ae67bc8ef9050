"""`optibench doctor`: what spoils measurements here."""

from __future__ import annotations

import click

NOT_FINE = 1


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list of name, found, fine, costs, mend.")
@click.option("--strict", is_flag=True, help="Exit 1 if anything is not fine.")
def doctor(as_json: bool, strict: bool) -> None:
    """Say what spoils measurements on this machine, what each thing costs, and how to mend it.

    Every record of a run holds the same findings. Here steal and throttling are counted since the machine was started,
    in a run during each round. docs/doctor.md says what each check means.

    Exit codes: 0 done, 1 something is not fine (with --strict), 2 wrong use.
    """
    import msgspec

    from optibench import doctor as checks
    from optibench import gpus
    from optibench.checks import gpu
    from optibench.render.plain import plain

    found = checks.worst_first(checks.findings(of_gpus=gpu.look(gpus.look())))
    bad = [finding for finding in found if not finding.fine]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for finding in found:
            click.echo(plain(f"{'ok' if finding.fine else '!!'}  {finding.name}: {finding.found}"))
            for line in (finding.costs, finding.mend):
                if line:
                    click.echo(plain(f"    {line}"))
        click.echo(f"\n{len(found)} checks, {len(bad)} not fine.")
    if strict and bad:
        raise click.exceptions.Exit(NOT_FINE)

"""When the next refresh is due: by a clock that the tests turn."""

import configparser
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
import yaml

from api.cli import schedule
from api.cli.main import cli
from api.every import JITTER, LOOK, run_every
from api.reporting import LAST
from recommender.releases.home import Home

HOUR = 3600.0
ROOT = Path(__file__).resolve().parents[1]


class Over(Exception):
    """Ends a job that runs for ever."""


class Clock:
    """A clock that only sleeping and working turn."""

    def __init__(self, now=1_000_000.0):
        self.now, self.naps = now, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += seconds


def begun(clock, last, takes, *, draw=0.0, after=None):
    """When runs begin that take so many seconds each."""
    begins, takes = [], list(takes)

    def run():
        begins.append(clock.now)
        if len(begins) > len(takes):
            raise Over
        clock.now += takes[len(begins) - 1]
        if after:
            after(clock, len(begins))

    with pytest.raises(Over):
        run_every(HOUR, last, run=run, clock=clock, sleep=clock.sleep, draw=lambda: draw)
    return begins


def test_one_every_hour_however_long_it_takes():
    clock = Clock()
    assert begun(clock, None, [600, 1200, 10]) == [1_000_000 + HOUR * n for n in range(4)]
    assert max(clock.naps) <= LOOK


def test_the_last_one_counts_also_before_a_restart():
    assert begun(Clock(), 1_000_000 - 600, [1]) == [1_003_000, 1_006_600]


def test_what_was_missed_is_made_up_once():
    start = 1_000_000
    assert begun(Clock(), start - 10 * HOUR, [60, 60]) == [start, start + HOUR, start + 2 * HOUR]
    # A run of two and a half hours: the next begins at once, the one after it an hour later.
    assert begun(Clock(), None, [2.5 * HOUR, 60]) == [
        start, start + 2.5 * HOUR, start + 3.5 * HOUR,
    ]  # fmt: skip


def test_jitter_never_adds_up():
    start = 1_000_000
    late = JITTER * HOUR
    assert begun(Clock(), None, [1, 1], draw=1.0) == [
        start,
        start + HOUR + late,
        start + 2 * HOUR + late,
    ]


def test_a_clock_that_jumps_back_a_year_waits_no_year():
    def back(clock, run):
        if run == 1:
            clock.now -= 365 * 24 * HOUR

    begins = begun(Clock(), None, [1, 1], after=back)
    assert begins[1] - (begins[0] - 365 * 24 * HOUR) <= HOUR + 1
    ahead = begun(Clock(), 1_000_000 + 365 * 24 * HOUR, [1])
    assert ahead[0] <= 1_000_000 + HOUR


@pytest.mark.parametrize(("outcome", "wait"), [("was stopped", 0), ("published", HOUR - 600)])
def test_what_was_stopped_goes_on_at_once(tmp_path, monkeypatch, outcome, wait):
    """Not a day later: its finished steps would be too old by then."""
    home, clock = Home(tmp_path).create(), Clock()
    home.reports.mkdir(exist_ok=True)
    (home.reports / LAST).write_text(json.dumps({"began": clock.now - 600, "outcome": outcome}))
    turned = SimpleNamespace(
        time=clock, sleep=clock.sleep, strftime=time.strftime, gmtime=time.gmtime
    )
    monkeypatch.setattr(schedule, "time", turned)
    monkeypatch.setattr(schedule.random, "random", lambda: 0.0)

    def once():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        schedule.for_ever(home, HOUR, once)
    assert sum(clock.naps) == wait


def examples():
    """The blocks of the page for operators, by language."""
    page = (ROOT / "docs" / "operating.md").read_text()
    return re.findall(r"```(\w+) shown\n(.*?)```", page, re.DOTALL)


def cron_command():
    """What the line for cron on that page runs, in `sh`."""
    return next(
        line.split("app", 1)[1].strip()
        for _, text in examples()
        for line in text.splitlines()
        if "* * *" in line
    )


def test_the_examples_for_schedulers_call_a_command_that_there_is():
    """With the options that they use; what calls it is read by a parser of its language."""
    by_language = dict(examples())
    units = by_language["ini"].split("\n\n")
    parsed = []
    for unit in units:
        config = configparser.ConfigParser(delimiters="=", interpolation=None)
        config.optionxform = str
        config.read_string(unit)
        parsed.append(config)
    service, failed, timer = parsed
    assert timer["Timer"]["Persistent"] == "true"
    assert "SuccessExitStatus" not in service["Service"]  # so that a refusal is a failure
    names = re.findall(r"system/(nichegraph-.*)", by_language["ini"])
    assert service["Unit"]["OnFailure"] == names[1]
    assert (
        names[0].removesuffix(".service")
        == re.findall(r"-u (\S+)", str(dict(failed["Service"])))[0]
    )
    job = yaml.safe_load(by_language["yaml"])["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    container = pod["containers"][0]
    assert [mount["name"] for mount in container["volumeMounts"]] == [
        volume["name"] for volume in pod["volumes"]
    ]
    docker = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM .* AS (\w+)$", docker, re.MULTILINE)
    entries = set(re.findall(r'^ENTRYPOINT \["(.*)"\]$', docker, re.MULTILINE))
    assert len(entries) == 1
    assert container["image"].split(":")[1] in stages
    home = container["args"][container["args"].index("--home") + 1]
    assert home in docker
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [home]
    assert f"--uid {pod['securityContext']['fsGroup']}" in docker
    # A policy on exit codes needs pods that do not start again by themselves.
    rule = job["podFailurePolicy"]["rules"][0]
    assert (pod["restartPolicy"], rule["action"]) == ("Never", "FailJob")
    assert rule["onExitCodes"] == {
        "containerName": container["name"], "operator": "In", "values": [3]
    }  # fmt: skip
    lines = [
        service["Service"]["ExecStart"].removeprefix("/opt/nichegraph/bin/"),
        " ".join([*entries, *container["args"]]),
        cron_command().removeprefix("/opt/nichegraph/bin/").split(">>")[0],
    ]
    for line in lines:
        words = line.split()
        assert words[0] == "nichegraph"
        group = typer.main.get_command(cli)
        name, command, rest = group.resolve_command(
            group.make_context("x", words[1:3], resilient_parsing=True), words[3:]
        )
        assert (words[1], name) == ("--home", "refresh")
        command.make_context(name, rest)

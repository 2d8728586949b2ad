"""Django's test runner, with a line 'outcome id' for each test in the file $RESULTS."""

import os
import unittest

from django.test.runner import DiscoverRunner

# The worst of a test's outcomes counts: one with subtests has several.
WORST = ("skip", "pass", "fail", "error")


class Recorder(unittest.TextTestResult):
    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.outcomes: dict[str, str] = {}

    def record(self, test: unittest.TestCase, outcome: str) -> None:
        name = "_".join(test.id().split())
        self.outcomes[name] = max(outcome, self.outcomes.get(name, "skip"), key=WORST.index)

    def addSuccess(self, test) -> None:
        super().addSuccess(test)
        self.record(test, "pass")

    def addFailure(self, test, err) -> None:
        super().addFailure(test, err)
        self.record(test, "fail")

    def addError(self, test, err) -> None:
        super().addError(test, err)
        self.record(test, "error")

    def addSkip(self, test, reason) -> None:
        super().addSkip(test, reason)
        self.record(test, "skip")

    def addExpectedFailure(self, test, err) -> None:
        super().addExpectedFailure(test, err)
        self.record(test, "pass")

    def addUnexpectedSuccess(self, test) -> None:
        super().addUnexpectedSuccess(test)
        self.record(test, "fail")

    def addSubTest(self, test, subtest, err) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.record(test, "fail")

    def stopTestRun(self) -> None:
        super().stopTestRun()
        with open(os.environ["RESULTS"], "w", encoding="utf-8") as file:
            for name, outcome in sorted(self.outcomes.items()):
                file.write(f"{outcome} {name}\n")


class Runner(DiscoverRunner):
    def get_resultclass(self):
        return Recorder

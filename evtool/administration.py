"""What the store of a database server promises to those who run it, beyond what every store does."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from evtool.findings import Diagnosis, Mended
from evtool.model import MigrationPlan, MigrationStep

Right = Literal["read", "write"]
"""What a role may do in a namespace; who may write may read."""


@dataclass(frozen=True, slots=True)
class Member:
    """A role that may use a namespace.

    Attributes:
        role: its name.
        right: the greater of its rights.
        login: whether it may log in.
        through: the role that it has the right by; None where it is a member of the namespace's group itself.
    """

    role: str
    right: Right
    login: bool
    through: str | None = None


class Listener(abc.ABC):
    """Hears that something was written to a namespace. What it was is for reads to say."""

    @abc.abstractmethod
    def wait(self, seconds: float) -> bool:
        """Waits for a transaction that has written, for so long at the most; whether there was one.

        Raises:
            StoreUnreachable: the connection was lost; make another listener, and read before you wait.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Stops listening."""


class Administration(abc.ABC):
    """Fleets of namespaces, roles, notifications, the adoption of what another tool installed, and a doctor.

    Every method may raise StoreUnreachable, StoreTimeout, PermissionDenied and NotMigrated.
    """

    @abc.abstractmethod
    def migrate(self, plan: MigrationPlan) -> Iterator[MigrationStep]:
        """Migrates the registry, then the namespaces of a plan; a step for each, as they end, failures included.

        Close the iterator if it isn't read to its end.

        Raises:
            InvalidArgument: the plan can't be followed.
            NamespaceNotFound: the plan names a namespace that isn't there.
            DatabaseTooNew, MigrationFailed: the registry can't be migrated.
        """

    @abc.abstractmethod
    def grant(self, name: str, role: str, right: Right) -> bool:
        """Makes a role a member of a namespace's readers or writers; whether it wasn't one.

        Raises:
            NamespaceNotFound: there is no such namespace.
            RoleRefused: there is no such role, or it is one of the groups.
        """

    @abc.abstractmethod
    def revoke(self, name: str, role: str) -> bool:
        """Ends a role's membership in both groups of a namespace; whether it had one.

        Raises:
            NamespaceNotFound, RoleRefused: as for `grant`.
        """

    @abc.abstractmethod
    def grant_script(self, name: str, role: str, right: Right | None) -> str:
        """The SQL of `grant`, or of `revoke` for a right of None."""

    @abc.abstractmethod
    def members(self, name: str) -> list[Member]:
        """Who may use a namespace besides its owner and superusers, by name.

        Raises:
            NamespaceNotFound: there is no such namespace.
        """

    @abc.abstractmethod
    def notify(self, name: str, *, on: bool) -> bool:
        """Has the writers of a namespace notify those who listen, or not any more; whether that is new.

        Raises:
            NamespaceNotFound: there is no such namespace.
        """

    @abc.abstractmethod
    def notifies(self, name: str) -> bool:
        """Whether the writers of a namespace notify.

        Raises:
            NamespaceNotFound: there is no such namespace.
        """

    @abc.abstractmethod
    def notification_script(self, name: str, *, on: bool) -> str:
        """The SQL of `notify`."""

    @abc.abstractmethod
    def listen(self, name: str) -> Listener:
        """Hears of what is written from here on. Close it.

        Raises:
            NamespaceNotFound: there is no such namespace.
            ServerUnsuitable: behind a pooler, or the server is a standby.
        """

    @abc.abstractmethod
    def adopt(self, schema: str, name: str, wait: timedelta) -> Iterator[str]:
        """Makes a namespace of what Message DB 1.3.0, or evtool itself, installed in a schema, in place.

        Writers and readers go on meanwhile. Each step is committed by itself, and what was done before is passed over,
        so an adoption that was killed is finished by another.

        Args:
            schema: what is to be adopted.
            name: what the namespace is to be called.
            wait: how long to wait for transactions that were busy before a step.

        Returns:
            What was done, a line for each step, as they end.

        Raises:
            NamespaceRefused: it isn't what can be adopted, with the reason.
            NamespaceExists: the name is another's.
            StoreTimeout: transactions stay busy for too long, or a lock can't be had; run it again.
        """

    @abc.abstractmethod
    def adoption_script(self, schema: str, name: str) -> str:
        """The SQL of `adopt`, complete and runnable by psql.

        Raises:
            NamespaceRefused, NamespaceExists: as for `adopt`.
        """

    @abc.abstractmethod
    def diagnose(self, name: str | None, busy: timedelta) -> Diagnosis:
        """What is wrong with a namespace or with all, and with what they share. Changes nothing.

        Args:
            name: the namespace; None is all of them.
            busy: transactions that are younger are not told.

        Raises:
            NamespaceNotFound: there is no such namespace.
        """

    @abc.abstractmethod
    def mend(self, name: str | None) -> Iterator[Mended]:
        """Mends what `diagnose` finds and calls fixable, one after the other, as they end, failures included.

        Raises:
            NamespaceNotFound: there is no such namespace.
            ServerUnsuitable: behind a pooler.
        """

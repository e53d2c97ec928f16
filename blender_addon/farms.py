"""What the add-on knows of farms: their names, their profiles, and what was found when one was tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .worker_client import WorkerClient


class Farms:
    """The farms of this user, as the worker tells of them.

    Args:
        client: Returns the worker.

    Attributes:
        names: Those that have a profile.
        profiles: What the worker said of each that was looked at.
        lights: What was found when one was tried out.
        problem: Why one can't be changed or tried out.
    """

    def __init__(self, client: Callable[[], WorkerClient]) -> None:
        self.names: tuple[str, ...] = ("local",)
        self.profiles: dict[str, Mapping[str, Any]] = {}
        self.lights: dict[str, list[Mapping[str, Any]]] = {}
        self.problem = ""
        self.is_testing = False
        self._client = client
        self._about = ""
        self._unread: dict[str, str] = {}
        self._wanted = ""
        self._asked = ""

    def watch(self, farm: str) -> None:
        """Somebody looks at a farm's profile. Called while drawing, so it only takes a note."""
        self._wanted = farm if farm not in self.profiles else ""

    def tick(self) -> None:
        """Ask for what is looked at; once, but if the worker died over it."""
        farm, self._wanted = self._wanted, ""
        if farm and farm != self._asked:
            self._asked = farm
            self._client().ask("profile", lambda line: self._take_profile(farm, line), farm=farm)

    def problem_of(self, farm: str) -> str:
        """Return why a farm can't be changed, tried out or shown; empty if it can."""
        if self.problem and self._about in ("", farm):
            return self.problem
        return self._unread.get(farm, "")

    def save(
        self,
        farm: str,
        values: Mapping[str, Any],
        secrets: Mapping[str, str],
        *,
        then: Callable[[str], None] = lambda _farm: None,
    ) -> None:
        """Change a farm's profile; it is made if there is none.

        Args:
            then: Called with the farm's name once it is saved.
        """
        self._change(farm, "save_profile", then=then, values=dict(values), secrets=dict(secrets))

    def remove(self, farm: str, *, then: Callable[[str], None]) -> None:
        """Take the user's own profile of a farm away.

        Args:
            then: Called with the farm's name once it is removed.
        """
        self._change(farm, "remove_profile", then=then)

    def take_in(self, path: str, secrets: Mapping[str, str], *, then: Callable[[str], None]) -> None:
        """Take over a profile that somebody made.

        Args:
            secrets: What the artist gives; of these what the profile leaves to be given.
            then: Called with the farm's name once it is here.
        """
        self._change("", "import_profile", then=then, path=path, secrets=dict(secrets))

    def hand_on(self, farm: str, path: str) -> None:
        """Write a farm's profile for others."""
        self._change(farm, "export_profile", path=path)

    def try_out(self, farm: str) -> None:
        """See whether a farm works, light by light."""
        self.lights[farm], self.is_testing, self.problem, self._about = [], True, "", farm
        self._client().ask("test", lambda line: self._take_light(farm, line), farm=farm)

    def take_hello(self, line: Mapping[str, Any]) -> None:
        """Take in what a worker says first."""
        if "result" in line:
            self.names = tuple(line["result"]["farms"])

    def _change(self, farm: str, verb: str, *, then: Callable[[str], None] = lambda _farm: None, **data: Any) -> None:
        self.problem, self._about = "", farm
        self._client().ask(verb, lambda line: self._take_change(farm, line, then), farm=farm, **data)

    def _take_change(self, farm: str, line: Mapping[str, Any], then: Callable[[str], None]) -> None:
        """Take in what became of a change; profiles are read anew when they are looked at."""
        if "error" in line:
            self.problem = str(line["error"]["message"])
            return
        result = line["result"]
        self.names = tuple(result.get("farms", self.names))
        name = str(result.get("farm", farm))
        for changed in {farm, name}:
            self.profiles.pop(changed, None)
            self._unread.pop(changed, None)
            self.lights.pop(changed, None)
        self._asked = ""
        then(name)

    def _take_profile(self, farm: str, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self._unread[farm] = str(line["error"]["message"])
            if line["error"]["kind"] == "WorkerDied":
                self._asked = ""
        else:
            self._unread.pop(farm, None)
            self.profiles[farm] = line["result"]

    def _take_light(self, farm: str, line: Mapping[str, Any]) -> None:
        if "event" in line:
            self.lights.setdefault(farm, []).append(line["event"])
            return
        self.is_testing = False
        if "error" in line:
            self.problem = str(line["error"]["message"])

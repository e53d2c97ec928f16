"""Blender's preferences by real clicks: where an extension is installed from a file, ticked, unticked and removed."""

from __future__ import annotations

from pathlib import Path

from .window import Window, screen_y

_PLACE = {"x": 300, "y": 300, "width": 1000, "height": 900}
_ASIDE = {**_PLACE, "x": 1600}  # there is no window manager that could minimize it
_MENU_BAR = {"Edit": 84, "Render": 130}
_PAGES = {"EXTENSIONS": 164, "ADDONS": 197}
"""How far below the upper edge each page's button is."""
_PAGES_REGION = {"4.3": ("NAVIGATION_BAR", 0), "5.2": ("UI", 31)}
"""Where they are, and what a search field above them takes."""
_ROW = 20
_PATIENCE = 60.0


def open_menu(blender: Window, name: str) -> None:
    """Click on a menu in the menu bar of the main window."""
    state = blender.wait_for(lambda now: now["windows"], "the window is laid out")
    _, y, _, height = state["windows"][0]
    blender.click(_MENU_BAR[name], screen_y(y + height) + 14)
    blender.settle()


def open_preferences(blender: Window) -> None:
    """Edit ▸ Preferences…, the last entry of its menu."""
    open_menu(blender, "Edit")
    blender.press("Up")
    blender.press("Return")
    blender.wait_for(lambda now: "PREFERENCES WINDOW" in now["regions"], "the preferences are open")
    bring_preferences(blender)


def bring_preferences(blender: Window) -> None:
    """Have the open preferences in front, where everything in them can be reached."""
    blender.place("Preferences", **_PLACE)
    size = [_PLACE["width"], _PLACE["height"]]
    blender.wait_for(lambda now: size in [place[2:] for place in now["windows"]], "they are there")
    blender.settle()


def put_preferences_aside(blender: Window) -> None:
    """Have the main window to ourselves again."""
    blender.place("Preferences", **_ASIDE)


def turn_to(blender: Window, page: str) -> None:
    """Click on a page's button."""
    region, above = _PAGES_REGION[blender.version]
    _click(blender, region, 80, _PAGES[page] + above)
    blender.wait_for(lambda now: now["page"] == page, f"the page {page} is open")
    blender.settle()


def install_from_disk(blender: Window, extension: Path) -> None:
    """Get Extensions ▸ Install from Disk…: the file is chosen in Blender's file browser, which opens in our folder."""
    turn_to(blender, "EXTENSIONS")
    _click(blender, "WINDOW", 214, 167)  # Continue Offline
    blender.settle()
    _click(blender, "WINDOW", -19, 18)
    blender.settle()
    _click(blender, "WINDOW", -128, 141)  # the menu's last entry
    blender.wait_for(lambda now: "FILE_BROWSER WINDOW" in now["regions"], "files can be chosen")
    blender.settle(times=15)  # it is laid out, and lists them in the background
    state = blender.state()
    x, y, _, height = state["regions"]["FILE_BROWSER WINDOW"]
    row = [path.name for path in _listed(extension.parent)].index(extension.name)
    blender.click(x + 100, screen_y(y + height) + (1.8 + row) * _ROW)
    blender.settle()
    blender.picture("0-install")
    x, y, width, height = state["regions"]["FILE_BROWSER EXECUTE"]
    blender.click(x + width - 70, screen_y(y + height / 2))
    blender.wait_for(lambda now: now["enabled"], "it is installed and enabled", seconds=_PATIENCE)


def tick(blender: Window, name: str) -> None:
    """Add-ons ▸ search ▸ the box of the only one that is found."""
    turn_to(blender, "ADDONS")
    if blender.state()["searched"] != name:
        _click(blender, "WINDOW", 214, 18)
        blender.settle()
        blender.type(name)
        blender.press("Return")
        blender.wait_for(lambda now: now["searched"] == name, "the search is typed")
        blender.settle()
    _click(blender, "WINDOW", 44, 55)


def uninstall(blender: Window) -> None:
    """Get Extensions ▸ the only one's menu ▸ Uninstall."""
    turn_to(blender, "EXTENSIONS")
    _click(blender, "WINDOW", -24, 155)
    blender.settle()
    blender.picture("8-uninstall")
    _click(blender, "WINDOW", -145, 228)


def _listed(folder: Path) -> list[Path]:
    """Return what Blender's file browser lists there: folders first, then what may be an extension."""
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    folders = [path for path in found if path.is_dir()]
    return sorted(folders) + sorted(path for path in found if path.suffix in (".py", ".zip"))


def _click(blender: Window, region: str, x: float, y: float) -> None:
    """Click into the preferences; a negative x counts from the right."""
    left, low, width, height = blender.state()["regions"][f"PREFERENCES {region}"]
    blender.click(left + x + (width if x < 0 else 0), screen_y(low + height) + y)

"""What the add-on draws in every state, by a layout that takes only what Blender's own takes; and the words that it uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.options import TOOLTIPS

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
_SMALL_WORDS = {"a", "an", "and", "as", "at", "by", "for", "in", "it", "of", "on", "the", "to", "with", "has"}
PANEL, JOBS = "CLOUDFARM_PT_output", "CLOUDFARM_PT_output_jobs"


@pytest.fixture(scope="module")
def drawn(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything in every state."""
    return run_in_blender("drawn.py", extension, tmp_path_factory.mktemp("drawn"))


def texts(drawn: dict[str, Any], state: str, place: str = PANEL) -> str:
    return " ".join(drawn[state][place]["texts"])


def buttons(drawn: dict[str, Any], state: str, place: str = PANEL) -> list[str]:
    return [name.removeprefix("cloud_farm.") for name in drawn[state][place]["operators"]]


def test_the_button_names_its_target_everywhere(drawn: dict[str, Any]) -> None:
    for place in (PANEL, "CLOUDFARM_PT_image", "menus"):
        assert "Render on This Computer" in texts(drawn, "at first", place)
        assert "Send to studio" in texts(drawn, "farm", place)


def test_a_farm_over_the_network_asks_for_online_access_where_it_is_off(drawn: dict[str, Any]) -> None:
    assert "extensions.userpref_allow_online" in drawn["farm"][PANEL]["operators"]
    assert "extensions.userpref_allow_online" not in drawn["at first"][PANEL]["operators"]


def test_what_is_wrong_is_seen_before_anything_is_sent_and_mended_with_a_click(drawn: dict[str, Any]) -> None:
    assert "The scene has no camera." in texts(drawn, "empty") and "use_camera" in buttons(drawn, "empty")
    assert "no camera" not in texts(drawn, "at first")
    assert "movie" in texts(drawn, "movie") and "use_images" in buttons(drawn, "movie")
    assert "movie" not in texts(drawn, "no movie")


def test_frames_that_make_no_sense_are_told_as_one_types(drawn: dict[str, Any]) -> None:
    assert "a part that is not a frame: 'x'. Write frames like 1-250" in texts(drawn, "wrong frames")
    assert "has 900,000 frames; one job takes at most 500,000" in texts(drawn, "too many frames")
    assert "frame range" not in texts(drawn, "right frames")
    assert drawn["as typed"] == ["custom_frames", "farm", "images"]


def test_a_scene_on_its_way_can_be_stopped_and_nothing_else_begun(drawn: dict[str, Any]) -> None:
    assert buttons(drawn, "sending") == ["stop_sending"]
    assert "Cloud Farm: Sending" in texts(drawn, "sending", "menus")


def test_the_copy_of_the_scene_is_announced_and_timed(drawn: dict[str, Any]) -> None:
    assert "Saving a copy of the scene" in texts(drawn, "saving") and buttons(drawn, "saving") == []
    assert "Its copy was saved in 1.2 s" in texts(drawn, "sending")


def test_view_layers_of_the_scene_can_be_chosen(drawn: dict[str, Any]) -> None:
    overrides = drawn["layers"]["CLOUDFARM_PT_output_overrides"]
    assert [text for text in overrides["untranslated"] if text in ("Hero", "Cube")] == ["Hero", "Cube"]
    assert "Hero" not in texts(drawn, "at first", "CLOUDFARM_PT_output_overrides")
    assert (drawn["all layers"], drawn["one layer"]) == ([], ["Hero"])
    assert (
        "No view layer is chosen" in texts(drawn, "no layer") and "No view layer is chosen" in drawn["refused layers"]
    )


def test_overrides_are_where_the_button_is(drawn: dict[str, Any]) -> None:
    """The panel sends artists to them: "Choose one in Overrides"."""
    places = ("CLOUDFARM_PT_output_overrides", "CLOUDFARM_PT_image_overrides")
    assert [drawn["no layer"][place]["properties"] for place in places] == [
        drawn["no layer"][places[0]]["properties"]
    ] * 2
    assert "camera" in drawn["no layer"][places[1]]["properties"]


def test_a_linked_scene_says_why_its_settings_are_dim(drawn: dict[str, Any]) -> None:
    assert "This scene is linked from another file" in texts(drawn, "linked")
    assert "linked" not in texts(drawn, "at first")


def test_tooltips_are_the_words_of_the_command_line(drawn: dict[str, Any]) -> None:
    said = {item["name"]: item["description"] for item in drawn["properties"]}
    for name in ("camera", "device", "samples", "percentage"):
        assert said[name] == TOOLTIPS[name]
    assert said["chunk_size"].startswith(TOOLTIPS["chunk_size"])


def test_why_it_was_not_sent_is_listed_with_what_to_click(drawn: dict[str, Any]) -> None:
    shown = buttons(drawn, "refused")
    assert shown.count("show_datablock") == 8 and shown.count("file.find_missing_files") == 8
    assert "And 4 more" in texts(drawn, "refused")
    assert "send_again" not in shown
    assert "send_again" in buttons(drawn, "broken off")


def test_a_finding_of_a_kind_that_is_not_known_comes_last(drawn: dict[str, Any]) -> None:
    said = texts(drawn, "newer words")
    assert 0 < said.index("Image 'wood'") < said.index("It is new.")


def test_a_check_says_how_much_and_how_long(drawn: dict[str, Any]) -> None:
    said = texts(drawn, "checked")
    assert "12 files" in said and "24 frames in 6 chunks" in said
    assert "About 12 min, cost 1.50" in said
    assert "Scout Frames tells how long" in texts(drawn, "checked anew")


def test_after_scouts_the_artist_decides(drawn: dict[str, Any]) -> None:
    shown = buttons(drawn, "scouted")
    assert shown.count("send_again") == 1 and shown.count("dismiss") == 2


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("queued", {"pause", "cancel"}), ("rendering", {"pause", "cancel"}), ("paused", {"resume", "cancel"}), ("failed", {"retry"}),
        ("cancelled", {"retry"}), ("done", set()), ("uploading", set()), ("unreadable", set()), ("not on volume", {"cancel"}),
    ],
)  # fmt: skip
def test_a_job_offers_what_can_be_done_with_it(drawn: dict[str, Any], state: str, expected: set[str]) -> None:
    shown = set(buttons(drawn, state, JOBS))
    assert shown & {"pause", "cancel", "resume", "retry"} == expected
    assert {"view", "open_folder", "logs", "delete", "refresh"} <= shown


def test_the_frames_of_a_job_are_told_by_state(drawn: dict[str, Any]) -> None:
    said = texts(drawn, "rendering", JOBS)
    assert "Failed: 7" in said and "Rendering: 4-5" in said
    assert "Rendering, 3 of 24, 10 min left" in said and "out of memory" in said


def test_the_strip_has_a_cell_for_each_frame_or_group_that_says_what_it_is(drawn: dict[str, Any]) -> None:
    assert drawn["rendering"][JOBS]["tips"] == [
        "Frames 1-3: 3 done", "Frames 4-5: 2 rendering", "Frame 6: waiting", "Frame 7: failed", "Frames 8-24: 17 waiting",
    ]  # fmt: skip
    large = drawn["large"][JOBS]
    assert "Left" in large["texts"] and "Right" in large["texts"]
    assert 40 < len(large["tips"]) <= 240 and "1 failed" in large["tips"][-1]
    half = len(large["tips"]) // 2
    assert large["cameras"] == ["Left"] * half + ["Right"] * half, "a click shows the frame of its own camera"
    assert set(drawn["rendering"][JOBS]["cameras"]) == {""}


def test_frames_that_can_not_be_scrubbed_say_why(drawn: dict[str, Any]) -> None:
    assert "Blender can't scrub its frames" in texts(drawn, "one by one", JOBS)
    assert "scrub" not in texts(drawn, "large", JOBS) + texts(drawn, "frames here", JOBS)
    assert "they don't all lie in one folder" in texts(drawn, "frames there", JOBS)


def test_frames_that_were_put_beside_their_folder_are_told_with_all_else(drawn: dict[str, Any]) -> None:
    said = texts(drawn, "aside", JOBS)
    assert "1 frame file was put into /out (shot): something newer has its name." in said and "It is known." in said
    assert "Clear it away with Delete." in said and "cloud-farm" not in said


def test_a_row_of_the_list_says_whose_how_old_and_how_far(drawn: dict[str, Any]) -> None:
    title, owner, old, failed, count, left = drawn["rendering"]["row shot-20261129-abc123"]
    assert (title, owner, failed, count, left) == ("shot", "ada", "1", "3/24", "10 min")
    assert re.fullmatch(r"now|\d+ (min|h|d)", old)
    assert "10 min" not in drawn["paused"]["row shot-20261129-abc123"]


def test_what_a_narrow_list_has_no_room_for_stands_below_it(drawn: dict[str, Any]) -> None:
    assert drawn["narrow"]["row"] == ["shot", "1", "3/24"]
    assert any(text.startswith("ada, ") for text in drawn["narrow"]["texts"])
    assert not any(text.startswith("ada, ") for text in drawn["rendering"][JOBS]["texts"])


def test_what_people_typed_is_never_translated(drawn: dict[str, Any]) -> None:
    """A job called Cube is no Würfel."""
    assert "Left" in drawn["large"][JOBS]["untranslated"]
    assert "Frame 7: out of memory." in drawn["rendering"][JOBS]["untranslated"]


def test_more_that_went_wrong_than_there_is_room_for_is_counted(drawn: dict[str, Any]) -> None:
    assert "And 2 more: see the logs" in texts(drawn, "large", JOBS)


def test_frames_that_failed_are_those_that_are_offered_to_be_rendered_again(drawn: dict[str, Any]) -> None:
    assert drawn["frames to render again"] == ["7", "", ""]


def test_a_job_whose_runner_died_goes_on_and_one_with_a_page_shows_it(drawn: dict[str, Any]) -> None:
    assert "resume" in buttons(drawn, "stalled", JOBS) and "retry" not in buttons(drawn, "stalled", JOBS)
    assert "show_page" in buttons(drawn, "stalled", "CLOUDFARM_MT_job")
    assert "show_page" not in buttons(drawn, "large", "CLOUDFARM_MT_job")
    assert "open_log" in buttons(drawn, "large", "CLOUDFARM_MT_job")


def test_what_went_wrong_with_a_job_is_read_and_dismissed_however_fresh_the_list_is(drawn: dict[str, Any]) -> None:
    both = texts(drawn, "problem", JOBS)
    assert "The job can't be paused." in both and "The farm does not answer." in both
    left = texts(drawn, "problem of a job", JOBS)
    assert "The job can't be paused." in left and "The farm does not answer." not in left
    assert "dismiss_problem" in buttons(drawn, "problem of a job", JOBS)
    assert "The job can't be paused." not in texts(drawn, "no problem", JOBS)
    assert "dismiss_problem" not in buttons(drawn, "no problem", JOBS)


def test_jobs_of_another_farm_are_none_of_this_one(drawn: dict[str, Any]) -> None:
    assert drawn["jobs of another farm"] == []
    assert "Jobs of this computer" in texts(drawn, "jobs of this computer", JOBS)
    assert "Jobs of this computer" not in texts(drawn, "no problem", JOBS)


def test_a_farm_whose_profile_could_not_be_read_is_read_again(drawn: dict[str, Any]) -> None:
    assert drawn["asked"] == ["profile studio"] * 3, "not where it would be in vain"
    died = texts(drawn, "reader died", "preferences")
    assert "It died." in died and "There is no" not in died
    assert "It died." not in texts(drawn, "read", "preferences")
    assert "It can't go." not in texts(drawn, "of another farm", "preferences")


def test_preferences_show_a_farm_its_lights_and_where_secrets_are(drawn: dict[str, Any]) -> None:
    said = texts(drawn, "farm", "preferences")
    assert "https://files.example.com as ada" in said
    assert "Argo: You may not create workflows." in said and "Ask for the right." in said
    assert "/home/ada/.config/cloud-farm/secrets" in said
    assert "Still needed: the password of 'ada'" in said
    assert "There is no farm 'studio'." in texts(drawn, "no such farm", "preferences")


def test_who_takes_a_farm_in_can_give_its_secrets_there(drawn: dict[str, Any]) -> None:
    assert drawn["import"]["properties"] == ["password", "token"]


def test_the_dialog_of_a_farm_begins_with_what_most_farms_need(drawn: dict[str, Any]) -> None:
    few, everything = drawn["dialog False"]["properties"], drawn["dialog True"]["properties"]
    assert set(few) < set(everything)
    assert {"url", "user", "password", "namespace", "images", "show_all"} <= set(few)
    assert "server" in few, "it is set"
    assert "'4.5' is not written as 4.5=registry/blender:4.5" in drawn["dialog False"]["texts"]
    assert "token" not in few and "token" in everything


def test_buttons_and_labels_are_written_as_blender_writes_its_own(drawn: dict[str, Any]) -> None:
    for operator in drawn["operators"]:
        words = operator["label"].split()
        assert all(word[0].isupper() or word in _SMALL_WORDS for word in words), operator
        assert operator["description"] and not operator["description"].endswith("."), operator
    for item in drawn["properties"]:
        assert item["label"] and item["label"][0].isupper(), item
        assert not item["description"].endswith("."), item

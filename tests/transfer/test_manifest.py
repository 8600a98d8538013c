"""The manifest beside an export: when it is there, what it is worth, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evtool import manifest as manifests
from evtool.errors import FileError, ManifestUnusable
from tests.cli.running import SECONDS, Cli, assert_one_line
from tests.transfer.lines import line, lines


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """A namespace with ten messages."""
    cli("import", stdin=lines(range(1, 11))).ok()
    return cli


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["out", "out.ndjson.gz", "out.ndjson.zst", "with space é"])
def test_a_file_has_its_manifest_beside_it(filled: Cli, tmp_path: Path, name: str) -> None:
    """Its size and sha256 are those of the bytes in the file, compressed or not."""
    path = tmp_path / name
    filled("export", "-o", path).ok()
    facts = json.loads((tmp_path / f"{name}.manifest.json").read_text("utf-8"))
    assert _names(tmp_path) == sorted([name, f"{name}.manifest.json"])
    assert facts["file"] == name
    assert facts["size"] == path.stat().st_size
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts["count"], facts["first_position"], facts["last_position"]) == (10, 1, 10)
    assert facts["compression"] == {"gz": "gzip", "zst": "zstd"}.get(name.rsplit(".", 1)[-1], "none")


def test_standard_output_has_a_manifest_where_it_is_asked_for(filled: Cli, tmp_path: Path) -> None:
    """And none where not; an increment can go on from it."""
    filled("export", "--manifest", tmp_path / "m.json").ok()
    done = filled("export", "--gzip", "--manifest", tmp_path / "m.json").ok()
    facts = json.loads((tmp_path / "m.json").read_text("utf-8"))
    assert facts["file"] is None
    assert (facts["size"], facts["sha256"]) == (len(done.stdout), hashlib.sha256(done.stdout).hexdigest())
    filled("export").ok()
    assert _names(tmp_path) == ["m.json"]
    filled("write", "later-1", "Written").ok()
    assert filled("export", "--incremental", tmp_path / "m.json").ok().out.count("\n") == 1


def test_a_manifest_elsewhere_leaves_none_beside_the_file(filled: Cli, tmp_path: Path) -> None:
    """An older one beside it would be another file's."""
    filled("export", "-o", tmp_path / "out").ok()
    filled("write", "later-1", "Written").ok()
    filled("export", "-o", tmp_path / "out", "--manifest", tmp_path / "m.json").ok()
    assert _names(tmp_path) == ["m.json", "out"]
    assert json.loads((tmp_path / "m.json").read_text("utf-8"))["count"] == 11


def test_a_manifest_that_can_not_be_written_leaves_no_older_one(filled: Cli, tmp_path: Path) -> None:
    """The file is complete then, and is said to be; what lies beside it is never of an older file."""
    filled("export", "-o", tmp_path / "out").ok()
    filled("write", "later-1", "Written").ok()
    done = filled("export", "-o", tmp_path / "out", "--manifest", "/dev/full")
    assert_one_line(done, 1, "FILE", "it is the manifest", "the export itself is complete")
    assert _names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes().count(b"\n") == 11


def test_a_manifest_that_can_never_be_is_told_before_the_export(filled: Cli, tmp_path: Path) -> None:
    """What would take an hour and then lack its manifest isn't begun."""
    for named, fault in ((tmp_path / "missing" / "m.json", "there is no folder"), (tmp_path, "it is a folder")):
        done = filled("export", "-o", tmp_path / "out", "--manifest", named)
        assert_one_line(done, 1, "FILE", "can't write the manifest", fault)
    assert _names(tmp_path) == []


def test_a_manifest_is_never_written_over_its_export(filled: Cli, tmp_path: Path) -> None:
    """By whatever name, be the export a file or standard output: it is refused, and what was there stays."""
    out, link = tmp_path / "out", tmp_path / "link"
    out.write_bytes(b"older")
    link.symlink_to(out)
    for output, manifest in ((out, out), (out, link), (link, out), (tmp_path / "x", f"{tmp_path}/./x"), ("-", "-")):
        done = filled("export", "-o", output, "--manifest", manifest)
        assert_one_line(done, 2, "INVALID_ARGUMENT", "can't both be written")
    with out.open("ab") as stdout:
        process = filled.start("export", "--manifest", link, stdout=stdout)
        assert process.communicate()[1].startswith(b"evtool: INVALID_ARGUMENT: ")
    assert (out.read_bytes(), _names(tmp_path)) == (b"older", ["link", "out"])


def test_a_manifest_goes_to_a_pipe_or_a_device_as_it_is(filled: Cli, tmp_path: Path) -> None:
    """None of them is replaced by a file; `-` is standard output, and a link stays one."""
    out, pipe, link = tmp_path / "out", tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "m.json")
    with ThreadPoolExecutor() as pool:
        reader = pool.submit(pipe.read_bytes)
        filled("export", "-o", out, "--manifest", pipe).ok()
        piped = json.loads(reader.result(timeout=SECONDS))
    printed = json.loads(filled("export", "-o", out, "--manifest", "-").ok().out)
    filled("export", "-o", out, "--manifest", link).ok()
    linked = json.loads((tmp_path / "m.json").read_text("utf-8"))
    assert piped["sha256"] == printed["sha256"] == linked["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (pipe.is_fifo(), link.is_symlink()) == (True, True)
    assert _names(tmp_path) == ["link", "m.json", "out", "pipe"]


def test_a_link_has_its_manifest_beside_the_file_that_it_stands_for(filled: Cli, tmp_path: Path) -> None:
    """The manifest lies where the bytes are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    filled("export", "-o", tmp_path / "link").ok()
    assert _names(tmp_path / "real") == ["file", "file.manifest.json"]


def test_a_failed_export_leaves_file_and_manifest_as_they_were(filled: Cli, tmp_path: Path) -> None:
    """Both or none: the manifest goes when the new file comes, and not before."""
    filled("export", "-o", tmp_path / "out").ok()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert_one_line(filled("export", "-n", "nosuch", "-o", tmp_path / "out"), 1, "NAMESPACE_NOT_FOUND")
    assert_one_line(filled("export", "--categories", "a-b", "-o", tmp_path / "out"), 2, "NOT_A_CATEGORY")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_manifest_is_read_as_it_was_written(filled: Cli, tmp_path: Path) -> None:
    """Every field, and the sha256 by which the next one names it."""
    filled("export", "--types", 'é"\\,T', "--until", "9999-12-31T23:59:59.999999Z", "-o", tmp_path / "out").ok()
    path = tmp_path / "out.manifest.json"
    manifest, fingerprint = manifests.read(str(path))
    assert manifests.render(manifest) == path.read_bytes()
    assert fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifests.filters_of(manifests.selection_of(manifest.filters)) == manifest.filters
    assert manifest.filters.types == sorted(['é"\\', "T"])


def test_a_manifest_with_any_byte_changed_is_refused(filled: Cli, tmp_path: Path) -> None:
    """The seal holds every field: no digit of a position can be another without being found out."""
    filled("export", "-o", tmp_path / "out").ok()
    path = tmp_path / "out.manifest.json"
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ManifestUnusable):
            manifests.read(str(path))
    for end in range(len(content) - 2):
        path.write_bytes(content[:end])
        with pytest.raises(ManifestUnusable):
            manifests.read(str(path))


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{}", b'{"format": "1"}', b'{"format": 1}', b"\xff", b"[" * 100_000, lines(range(3))],
)
def test_what_is_no_manifest_is_refused(filled: Cli, tmp_path: Path, content: bytes) -> None:
    """One line says so, and no file appears."""
    path = tmp_path / "m.json"
    path.write_bytes(content)
    done = filled("export", "--incremental", path, "-o", tmp_path / "out")
    assert_one_line(done, 1, "MANIFEST", "m.json", "name an export's FILE.manifest.json")
    assert _names(tmp_path) == ["m.json"]


def test_a_manifest_of_a_newer_format_is_refused(filled: Cli, tmp_path: Path) -> None:
    """It may say what this version doesn't know of."""
    filled("export", "-o", tmp_path / "out").ok()
    path = tmp_path / "out.manifest.json"
    path.write_text(path.read_text("utf-8").replace('"format": 1', '"format": 2'), "utf-8")
    done = filled("export", "--incremental", path, "-o", tmp_path / "next")
    assert_one_line(done, 1, "MANIFEST", "has format 2", "upgrade evtool")


def test_a_manifest_that_is_not_there_is_one_line(filled: Cli, tmp_path: Path) -> None:
    """It is named, with where manifests are."""
    done = filled("export", "--incremental", tmp_path / "none")
    assert_one_line(done, 1, "FILE", "can't read the manifest", "FILE.manifest.json")
    with pytest.raises(FileError):
        manifests.read(str(tmp_path))


@pytest.mark.parametrize("progress", ["none", "json"])
def test_an_import_says_that_its_file_is_shorter_than_the_manifest_has_it(
    filled: Cli, tmp_path: Path, progress: str
) -> None:
    """A file that was cut off at the end of a line is a whole one for whoever doesn't look; a whole one needs no word."""
    path = tmp_path / "all.ndjson"
    filled("export", "-o", path).ok()
    command = ("import", "-i", path, "--on-conflict", "skip", "--progress", progress)
    assert "manifest" not in filled(*command).ok().err
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:-1]))
    said = f"all.ndjson.manifest.json says {len(whole)} messages, and the file had {len(whole) - 1}"
    (line_,) = [one for one in filled(*command).ok().err.splitlines() if said in one]
    assert progress != "json" or set(json.loads(line_)) == {"warning"}


def test_an_increment_is_not_written_over_what_it_goes_on_from(filled: Cli, tmp_path: Path) -> None:
    """By no name: not over the file, not over its manifest; both stay. A manifest alone may be replaced by the next."""
    path = tmp_path / "all.gz"
    filled("export", "-o", path).ok()
    manifest = tmp_path / "all.gz.manifest.json"
    moved = tmp_path / "moved.json"
    shutil.copy(manifest, moved)
    (tmp_path / "link").symlink_to(path)
    before = (path.read_bytes(), manifest.read_bytes())
    for given, output in (
        (manifest, path), (moved, path), (manifest, tmp_path / "link"), (manifest, manifest), (moved, moved)
    ):  # fmt: skip
        done = filled("export", "--incremental", given, "-o", output)
        assert_one_line(done, 2, "INVALID_ARGUMENT", "would be overwritten", "another name")
        assert (path.read_bytes(), manifest.read_bytes()) == before
    rolling = ("export", "--incremental", moved, "--manifest", moved)
    filled("write", "last-1", "Happened").ok()
    assert filled(*rolling).ok().out.count("\n") == 1
    assert filled(*rolling).ok().out == ""


def test_an_increment_on_the_command_line(filled: Cli, tmp_path: Path) -> None:
    """From the manifest of one file to the next; nothing new is said to be so, and other filters are wrong usage."""
    filled("export", "--types", "Happened", "-o", tmp_path / "1.gz").ok()
    done = filled("export", "--incremental", tmp_path / "1.gz.manifest.json", "-o", tmp_path / "2.gz").ok()
    assert done.err.splitlines()[1] == "evtool: nothing came since; see: evtool categories, evtool stats"
    done = filled("export", "--incremental", tmp_path / "2.gz.manifest.json", "--types", "Other")
    assert_one_line(done, 2, "INVALID_ARGUMENT", "others were given")
    filled("import", stdin=line(1000, stream="above-1", id="00000000-0000-4000-8000-00000000fffe")).ok()
    filled("write", "last-1", "Happened").ok()
    done = filled("export", "--incremental", tmp_path / "2.gz.manifest.json", "-o", tmp_path / "3.gz").ok()
    assert done.err.startswith("Done. 1 event exported in ")
    assert "position 1001" in done.err

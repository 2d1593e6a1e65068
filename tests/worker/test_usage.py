"""What a run takes."""

import os
import subprocess
import sys

import pytest

from worker.usage import MB, folder_size, group_memory

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux only")


@linux_only
def test_the_memory_of_a_group_is_that_of_all_its_processes():
    code = "import sys; held = b'x' * (64 * 2**20); print(flush=True); sys.stdin.read()"
    first = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, process_group=0)
    second = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, process_group=first.pid)
    for process in (first, second):
        process.stdout.readline()
    assert 128 < group_memory(first.pid) / MB < 160
    for process in (first, second):
        process.communicate()
    assert group_memory(first.pid) == 0


def test_the_size_of_a_folder_is_that_of_all_files_below(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b").write_bytes(bytes(500))
    os.symlink("/etc/passwd", tmp_path / "link")
    assert folder_size(tmp_path) == 1500 + len("/etc/passwd")
    assert folder_size(tmp_path / "gone") == 0

"""What reading a DAG file came to depend on, each case read in a process of its own: audit hooks stay."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.any_airflow

PROGRAM = """
import importlib, json, sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from airflow_eks_dask.worker.dag_reading import observed

folder, *preloaded = sys.argv[1:]
for each in preloaded:
    importlib.import_module(each)
sys.path.insert(0, folder)
loader = SourceFileLoader("file", folder + "/file.py")
module = module_from_spec(spec_from_loader("file", loader))
with observed() as reading:
    loader.exec_module(module)
print(json.dumps({"obstacles": reading.obstacles, "paths": list(reading.states)}), flush=True)
for line in sys.stdin:
    print(json.dumps({"is_current": reading.is_current(), "is_old": reading.is_older_than(float(line))}), flush=True)
"""


class Reader:
    """A process that has read ``file.py`` of a folder."""

    def __init__(self, folder: Path, source: str, *preloaded: str) -> None:
        self.folder = folder
        (folder / "file.py").write_text(source)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), *preloaded],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            text=True,
        )
        told = self._told()
        self.obstacles: list[str] = told["obstacles"]
        self.paths: list[str] = told["paths"]

    def _told(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, seconds: float = 3600) -> dict[str, bool]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        told: dict[str, bool] = self._told()
        return told

    def is_current(self) -> bool:
        return self.ask()["is_current"]


@pytest.fixture
def read(tmp_path):
    readers = []

    def read(source: str, *preloaded: str) -> Reader:
        readers.append(Reader(tmp_path, source, *preloaded))
        return readers[-1]

    (tmp_path / "helper.py").write_text("import time\nVALUE = 1\ndef later():\n    return time.time()\n")
    (tmp_path / "data.json").write_text("[1]")
    (tmp_path / "folder").mkdir()
    yield read
    for reader in readers:
        reader.process.communicate(timeout=60)


@pytest.mark.parametrize(
    "source",
    [
        "VALUE = sum(range(10))",
        "import helper",
        "import json; VALUE = json.load(open('{folder}/data.json'))",
        "import os; VALUE = sorted(os.listdir('{folder}/folder'))",
        "import os; VALUE = sorted(os.listdir()), sorted(os.listdir(b'{folder}/folder'))",
        "from pathlib import Path; VALUE = [each.name for each in Path('{folder}').glob('*.json')]",
        "import os; VALUE = os.environ.get('HOME')",
        "from datetime import datetime, timedelta; VALUE = datetime(2026, 1, 1) - timedelta(days=1)",
        "from datetime import datetime\ndef task():\n    return datetime.now()",
        "import logging; logging.getLogger('file').warning('the library looks at the clock')",
        "import xml.dom.minidom, email.mime.text, asyncio",
        "import numpy; VALUE = numpy.arange(3).sum()",
    ],
)
def test_what_stays_the_same_may_be_used_again(read, tmp_path, source):
    reader = read(source.replace("{folder}", str(tmp_path)), "numpy")
    assert reader.obstacles == []
    assert reader.is_current()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import time; NOW = time.time()", "calls time()"),
        ("from time import time_ns; NOW = time_ns()", "calls time_ns()"),
        ("from datetime import datetime; NOW = datetime.now()", "calls now()"),
        ("from datetime import date; NOW = date.today()", "calls today()"),
        ("import pendulum; NOW = pendulum.today('UTC')", "calls today()"),
        ("from helper import later; NOW = later()", "helper.py:4 calls time()"),
        ("import random; VALUE = random.random()", "calls random()"),
        ("import random; VALUE = random.Random().choice([1, 2])", "calls choice()"),
        ("import random; random.seed(1)", "calls seed()"),
        ("import numpy.random", "imports numpy"),
        ("import numpy; numpy.random.seed(1)", "numpy's random numbers"),
        ("import numpy; numpy.random.rand()", "numpy's random numbers"),
        ("import uuid; VALUE = uuid.uuid4()", "calls uuid4()"),
        ("import secrets; VALUE = secrets.token_hex()", "calls token_hex()"),
        ("import os; VALUE = os.urandom(8)", "calls urandom()"),
        ("import os; VALUE = os.getpid()", "calls getpid()"),
        ("import os; VALUE = os.path.exists('/nowhere')", "calls exists()"),
        ("from pathlib import Path; VALUE = Path('/nowhere').is_file()", "calls is_file()"),
        ("exec('import time; NOW = time.time()')", "calls time()"),
        ("open('/proc/meminfo').read()", "/proc/meminfo is opened"),
        ("open('{folder}/out', 'w').write('x')", "out is opened"),
        ("open('{folder}/out', 'a').close()", "out is opened"),
        ("import os; os.close(os.open('{folder}/out', os.O_CREAT | os.O_WRONLY))", "out is opened"),
        ("import os; fd = os.open('{folder}', 0); os.listdir(fd); os.close(fd)", "by its descriptor"),
        ("import os; os.mkdir('{folder}/new')", "os.mkdir"),
        ("import tempfile; VALUE = tempfile.mkdtemp(dir='{folder}')", "tempfile.mkdtemp"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import os; os.system('true')", "os.system"),
        ("import socket; socket.gethostbyname('localhost')", "socket.gethostbyname"),
        (
            "import socket\ntry: socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass",
            "socket.connect",
        ),
        ("import sqlite3; sqlite3.connect(':memory:').close()", "sqlite3.connect"),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "a thread running"),
        ("FILE = open('{folder}/data.json')", "leaves a file or a socket open"),
        ("import os; PAIR = os.pipe()", "leaves a file or a socket open"),
        ("import sys; sys.setprofile(None)", "sys.setprofile"),
        ("import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "calls signal()"),
        ("import logging; logging.getLogger().setLevel(10)", "calls setLevel()"),
        ("from airflow.sdk import get_parsing_context; get_parsing_context()", "calls get_parsing_context()"),
    ],
)
def test_what_may_be_different_next_time_may_not(read, tmp_path, source, words):
    preloaded = ["numpy.random"] if "numpy.random." in source else []
    reader = read(source.replace("{folder}", str(tmp_path)), *preloaded)
    assert any(words in each for each in reader.obstacles)


def write_back(file: Path) -> None:
    """Change a file and nothing that most tools look at: neither its size nor its time."""
    before = file.stat()
    file.write_text(file.read_text().replace("1", "2"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(file: Path) -> None:
    """Put another file in its place, as deployments do."""
    other = file.with_suffix(".new")
    other.write_bytes(file.read_bytes())
    other.replace(file)


SOURCE = """
import json, os
import helper
VALUE = json.load(open('{folder}/data.json'))
NAMES = os.listdir('{folder}/folder')
try:
    MORE = open('{folder}/more.json').read()
except FileNotFoundError:
    MORE = 1
"""


@pytest.mark.parametrize("change", [write_back, replace, os.remove], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["file.py", "helper.py", "data.json"])
def test_a_changed_file_is_noticed(read, tmp_path, name: str, change: Callable[[Path], None]):
    reader = read(SOURCE.replace("{folder}", str(tmp_path)))
    assert reader.obstacles == []
    assert reader.is_current()
    change(tmp_path / name)
    assert not reader.is_current()


@pytest.mark.parametrize("name", ["more.json", "folder/more.json", "folder/deep/", "helper/"])
def test_a_new_file_is_noticed(read, tmp_path, name):
    reader = read(SOURCE.replace("{folder}", str(tmp_path)))
    assert reader.is_current()
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).touch()
    assert not reader.is_current()


def test_a_module_is_noted_though_its_compiled_form_is_read(read, tmp_path):
    py_compile.compile(str(tmp_path / "helper.py"))
    reader = read("import helper")
    assert str(tmp_path / "helper.py") in reader.paths
    assert not [path for path in reader.paths if path.endswith(".pyc")]


def test_libraries_are_not_watched(read, tmp_path):
    reader = read("import xml.dom.minidom, hypothesis.errors")
    assert [path for path in reader.paths if path.endswith(".py")] == [str(tmp_path / "file.py")]


def test_it_grows_old(read):
    reader = read("")
    assert reader.ask(3600)["is_old"] is False
    assert reader.ask(0)["is_old"] is True

"""Power meters, of boards that are not here."""

from __future__ import annotations

import ctypes
import os

import machines
import pytest

from dsrfau_edge.bench import nvml
from dsrfau_edge.bench.environment import moment
from dsrfau_edge.bench.power import EnergyCounter, PowerSampler, device_of, find_meter, measure


def test_a_counter_that_wraps():
    values = iter([9.0, 3.0])
    assert EnergyCounter("x", lambda: next(values), limit=10.0).watch(lambda: None)[0] == pytest.approx(4.0)
    values = iter([9.0, 3.0])
    assert EnergyCounter("x", lambda: next(values)).watch(lambda: None) is None
    values = iter([9.0, None])
    assert EnergyCounter("x", lambda: next(values)).watch(lambda: None) is None


def test_jetsons_rails(tmp_path):
    meter, reason = find_meter(machines.jetson_orin(tmp_path), "cpu")
    assert (meter.source, reason) == ("INA3221 rails VDD_IN", "")  # the others are parts of it
    found = measure(meter, "", lambda index: None, items=1, seconds=0.1)
    assert found.watts == pytest.approx(6.0)
    assert found.millijoules > 0


def test_rails_without_one_for_all_are_added(tmp_path):
    host = machines.jetson_orin(tmp_path)
    (tmp_path / "sys/class/hwmon/hwmon3/in1_label").write_text("VDD_GPU_SOC\n")
    meter, _ = find_meter(host, "cuda:0")
    assert meter.source == "INA3221 rails VDD_GPU_SOC + VDD_CPU_GPU_CV"
    assert meter._watts() == pytest.approx(8.0)


def test_rapl(tmp_path):
    host = machines.intel_nuc(tmp_path)
    meter, reason = find_meter(host, "cpu")
    assert (meter.source, reason) == ("RAPL package-0 (the whole processor)", "")
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    assert meter.watch(lambda: counter.write_text("3500000\n"))[0] == pytest.approx(2.5)
    counter.write_text("262143000000\n")
    assert meter.watch(lambda: counter.write_text("671150\n"))[0] == pytest.approx(1.0)


def test_rapl_that_root_alone_reads(tmp_path, monkeypatch):
    host = machines.intel_nuc(tmp_path)
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    read = type(host).read
    monkeypatch.setattr(type(host), "read", lambda self, path: "" if self.root / path == counter else read(self, path))
    monkeypatch.setattr(os, "access", lambda path, mode: path != counter)
    meter, reason = find_meter(host, "cpu")
    assert meter is None
    assert "/sys/class/powercap/intel-rapl:0/energy_uj is readable by root alone (sudo chmod o+r" in reason
    told = measure(meter, reason, lambda index: None, items=1, seconds=1).to_dict()
    assert told["watts"] is None
    assert told["text"].startswith("not measured: ")


def test_amds_energy_sensor(tmp_path):
    meter, _ = find_meter(machines.amd_server(tmp_path), "cpu")
    sensor = tmp_path / "sys/class/hwmon/hwmon1/energy1_input"
    assert meter.source == "hwmon amd_energy Esocket0"
    assert meter.watch(lambda: sensor.write_text("8000000"))[0] == pytest.approx(3.0)


@pytest.mark.parametrize("make", [machines.raspberry_pi_5, machines.nothing])
def test_boards_without_a_meter(tmp_path, make):
    meter, reason = find_meter(make(tmp_path / "root"), "cpu")
    assert meter is None
    assert "no power meter" in reason


def test_a_gpu_without_nvml_is_not_measured_by_the_processors_meter(tmp_path, monkeypatch):
    monkeypatch.setattr(nvml, "library", lambda: None)
    meter, reason = find_meter(machines.intel_nuc(tmp_path), "cuda:1")
    assert (meter, reason) == (None, "no meter of cuda:1 can be read (NVML, INA)")


def test_samples_are_averaged_over_the_stretch():
    values = iter([2.0, *([4.0] * 10_000)])
    meter = PowerSampler("x", lambda: next(values))
    found = measure(meter, "", lambda index: None, items=2, seconds=0.2)
    assert 2.0 < found.watts < 4.0
    assert (
        measure(PowerSampler("x", lambda: None), "", lambda index: None, items=1, seconds=0).reason
        == "x stopped answering"
    )


class FakeNvml:
    """Answers as the library does: a status, and values behind pointers."""

    def __init__(self, *, counts=True):
        self.energy, self.counts = 1000, counts

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        return 0 if index == 0 else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, value):
        value._obj.value = self.energy
        return 0 if self.counts else 3

    def nvmlDeviceGetPowerUsage(self, handle, value):
        value._obj.value = 61_500
        return 0

    def nvmlDeviceGetTemperature(self, handle, kind, value):
        value._obj.value = 44
        return 0

    def nvmlDeviceGetClockInfo(self, handle, kind, value):
        value._obj.value = 1000 + kind
        return 0 if kind != 1 else 3

    def nvmlSystemGetDriverVersion(self, name, size):
        ctypes.memmove(name, b"580.65.06\0", 10)
        return 0


def test_nvml(monkeypatch, tmp_path):
    library = FakeNvml()
    monkeypatch.setattr(nvml, "library", lambda: library)
    gpu = nvml.gpu(0)
    assert (gpu.watts(), gpu.joules(), gpu.celsius(), gpu.megahertz()) == (
        61.5,
        1.0,
        44.0,
        {"graphics": 1000, "memory": 1002},
    )
    assert nvml.driver_version() == "580.65.06"
    assert nvml.gpu(3) is None
    meter, _ = find_meter(machines.nothing(tmp_path / "root"), "cuda")
    assert meter.watch(lambda: setattr(library, "energy", 3000))[0] == 2.0
    library.counts = False
    meter, _ = find_meter(machines.nothing(tmp_path / "root"), "cuda:0")
    assert isinstance(meter, PowerSampler)
    assert nvml.driver_version(object()) is None
    assert nvml.gpu(0, object()) is None


def test_gpus_clocks_and_temperatures_belong_to_the_moment(monkeypatch, tmp_path):
    monkeypatch.setattr(nvml, "library", FakeNvml)
    found = moment(machines.nothing(tmp_path / "root"), 2)["gpus"]
    assert found == [{"index": 0, "celsius": 44.0, "mhz": {"graphics": 1000, "memory": 1002}}]


@pytest.mark.parametrize(
    ("runtime", "device", "covered"),
    [
        ("onnxruntime", None, "cpu"),
        ("onnxruntime", "CUDA:1", "cuda:1"),
        ("onnxruntime", "cuda+cpu", "cuda"),
        ("tensorrt", None, "cuda:0"),
        ("openvino", None, "cpu"),
        ("openvino", "gpu:1", "openvino gpu:1"),  # Intel's, whatever NVIDIA's there are
    ],
)
def test_what_a_meter_must_cover(runtime, device, covered):
    assert device_of(runtime, device) == covered


def test_an_intel_gpu_is_not_measured_by_nvml(monkeypatch, tmp_path):
    monkeypatch.setattr(nvml, "library", FakeNvml)
    assert find_meter(machines.nothing(tmp_path / "root"), "openvino gpu") == (
        None, "no meter of openvino gpu can be read (NVML, INA)",
    )  # fmt: skip

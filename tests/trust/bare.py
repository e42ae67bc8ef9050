"""A ten-line loop over ONNX Runtime's or OpenVINO's own API, to lay beside what optibench reports.

``bare.py BACKEND GRAPH INPUTS THREADS``: for every line on standard input, one burst of 60 ms; its calls' ns as JSON.
"""

import json
import sys
import time

import numpy

backend, graph, inputs, threads = sys.argv[1:5]
arrays = {name.partition("/")[2]: array for name, array in numpy.load(inputs).items()}
if backend == "onnxruntime":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feed = {i.name: arrays[i.name] for i in session.get_inputs()}

    def call():
        session.run(None, feed)
else:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": int(threads)}
    model = openvino.Core().compile_model(graph, "CPU", settings)
    request = model.create_infer_request()
    feed = {name: arrays[name] for port in model.inputs for name in port.get_names()}

    def call():
        request.infer(feed)


for _ in range(20):
    call()
print("ready", flush=True)
for _ in sys.stdin:
    call()
    times, end = [], time.perf_counter_ns() + 60_000_000
    while time.perf_counter_ns() < end or len(times) < 2:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    time.sleep(0.05)  # until its threads have stopped spinning
    print(json.dumps(times), flush=True)

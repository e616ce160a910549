"""Serves the model of the first argument with llama.cpp's own server, until stdin ends."""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {"smollm2"}
params.n_ctx = 8192
params.n_parallel = 2
params.hostnames = ["127.0.0.1"]
params.port = 0
# Threads wait for one another at every step, which takes for ever where other programs want the cores, too.
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()

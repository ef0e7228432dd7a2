"""libtorch's own all-reduce beside collectives.cpp's: torchrun --nproc-per-node 2 benchmarks/gpu/collectives.py"""
import os
import time

import torch
import torch.distributed as dist


def seconds(count, work):
    best = 1e9
    for _ in range(5):
        dist.barrier()
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - start) / count)
    return best


dist.init_process_group("nccl")
rank, ranks = dist.get_rank(), dist.get_world_size()
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
for size in (4096, 25_165_824):
    count = 20 if size > 1 << 20 else 200
    values = torch.zeros(size // 2, dtype=torch.bfloat16, device="cuda")

    def work():
        for _ in range(count):
            dist.all_reduce(values)

    work()
    eager = seconds(count, work)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    graph.replay()
    captured = seconds(count, graph.replay)
    bus = 2 * (ranks - 1) / ranks * size / 1e9
    if rank == 0:
        print(f"libtorch {torch.__version__}, {ranks} ranks, {size} bytes of bfloat16: {1e6 * eager:.1f} us a call, "
              f"{1e6 * captured:.1f} us in a graph; {bus / min(eager, captured):.1f} GB/s (bus)", flush=True)
    del graph  # NCCL does not end while a graph holds its calls
dist.destroy_process_group()

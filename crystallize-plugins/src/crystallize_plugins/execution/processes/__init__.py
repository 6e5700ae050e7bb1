"""Worker processes: cells go to them in batches, outcomes come back, and a death costs one cell at most.

The face of this package is `worker_pool.WorkerPool`. Nothing is imported here: the processes that start workers need
but a part of it.

| module | its job |
| --- | --- |
| `worker_pool` | what a run holds: how workers are started, what is kept between runs |
| `fork_server`, `fork_server_process` | forking workers: the coordinator's side, the process that does it |
| `spawn` | starting workers as new interpreters |
| `supervisor`, `cell_queue`, `deadlines` | handing out cells, losing none, trying again, ending what takes too long |
| `process_tree` | ending what a worker leaves behind |
| `worker` | the life of a worker |
| `messages`, `output`, `streams` | what workers say, print, log and warn about |
| `shared_memory`, `environment` | what workers and coordinator share, and what workers take over |
| `payload`, `pickling`, `modules` | carrying the experiment |
| `diagnostics` | saying what went wrong |
"""

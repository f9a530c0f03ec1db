"""MLflow tracking: journals of trainings, their transfer to the tracker, and all questions to it.

The trainer appends events to a local journal and never waits for the network; a process of its own replays them to the
tracker. What could not be sent stays in the journal and is sent by `resomap sync` or by the next run.

Sending a run:

- `journal`: the local record of a cell's trainings
- `sender`: replay of a journal to MLflow, and the receipt of what the tracker has of it
- `run_writer`, `event_groups`, `read_back`: one run written, in groups of events, and asked for what it was sent
- `send_request`: a trainer's request that its journal be sent
- `sender_process`: the process beside the trainings of a run, which sends their journals
- `sync`: `resomap sync`, and the background sync beside Snakemake
- `lost_runs`: runs that somebody deleted, or that are not complete although a receipt says so
- `client`: an MLflow client with short time-outs, and runs that are found or created
- `mlflow_variables`: the environment variables of MLflow that hold in every process
- `local_database`: the local database: made, upgraded, refused
- `damaged_database`: the study's own database set aside where it is damaged
- `local_store`: the study's own database, which moves with the study
- `artifacts`, `run_figures`: files and data set of a run, and the figures drawn of it
- `run_params`, `provenance`, `system_metrics`: settings as params, configuration and environment, load of the machine
- `directory_id`: id of the working directory

Asking the tracker:

- `credentials`, `rest`, `proxy`: credentials, plain REST calls with a deadline, and the proxy that they go through
- `refusals`, `standing`, `troubles`: refusals that last, in words; asked of a tracker beforehand; told at a run's end
- `answers`: the schema of what a tracker answers
- `run_search`: a search for runs, in pages
- `lookup`: all that planning asks of the tracker
- `completed`, `elsewhere`, `explain`: complete cells, cells trained elsewhere, and why a run does not count
- `fetch`: the step that fetches the files of a run
- `metric_names`: names of metrics and params of other scripts
"""

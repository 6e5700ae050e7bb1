"""The terminal UI: an application of Textual, imported when `crystallize ui` opens it, and never before.

| module | its job |
| --- | --- |
| `application` | the application: its screens, what every screen can do, how it ends |
| `catalog` | the experiments below a folder, and what is stored of them, without running their code |
| `asking` | the commands of this command line, asked in processes of their own |
| `widgets` | the parts that screens are made of |
| `screens/` | one module a screen, and the dialogs |

It runs none of an experiment's code: what needs that is asked of a process. What is listed comes from
`read_description` and from the store.
"""

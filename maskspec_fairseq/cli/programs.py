"""The programs that the package installs: setup.py makes its entry points of this table."""

# name -> the module with its `build_parser` and `main`
PROGRAMS: dict[str, str] = {
    f"maskspec-{name}": f"maskspec_fairseq.cli.{name.replace('-', '_')}"
    for name in (
        "build",
        "recipes",
        "plot-loss",
        "reconstruct",
        "evaluate",
        "crossval",
        "average",
        "convert",
        "export",
        "embed",
        "probe",
        "tag",
        "page",
    )
}

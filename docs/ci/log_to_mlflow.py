"""Log a report of privaudit to MLflow: python log_to_mlflow.py privaudit-report."""

import sys

import mlflow

from auditcli.report import read

folder = sys.argv[1]
report = read(folder)
with mlflow.start_run(run_name=f"privaudit {report.model.path}"):
    mlflow.set_tags({"privaudit.verdict": report.verdict.level, "privaudit.model_sha256": report.model.sha256})
    mlflow.log_params(report.budget.model_dump(include={"seconds", "device", "profile", "seed"}))
    mlflow.log_metric("members_recovered", sum(member.leaked for member in report.members))
    for signal in report.membership:
        if signal.auc is not None:
            mlflow.log_metric(f"auc.{signal.signal}", signal.auc.value)
    mlflow.log_artifacts(folder, "privaudit")

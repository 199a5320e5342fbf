"""What the tests of databases and of their subnet groups have in common."""

from __future__ import annotations

TAG = "airflow-eks-dask/cluster"
NAME = "pipelines"


class Network:
    """A VPC with three subnets."""

    def __init__(self, ec2, cidr):
        self.vpc = ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
        self.subnets = sorted(
            ec2.create_subnet(
                VpcId=self.vpc, CidrBlock=f"{cidr}.{number}.0/24", AvailabilityZone=f"eu-central-1{zone}"
            )["Subnet"]["SubnetId"]
            for number, zone in enumerate("abc")
        )
        self.groups = [
            ec2.create_security_group(GroupName=name, Description="Some", VpcId=self.vpc)["GroupId"]
            for name in ("database", "other")
        ]


def tags_of(rds, arn):
    return {tag["Key"]: tag["Value"] for tag in rds.list_tags_for_resource(ResourceName=arn)["TagList"]}


def database_of(rds, name=NAME):
    try:
        return rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
    except rds.exceptions.DBInstanceNotFoundFault:
        return None


def snapshots_of(rds):
    return sorted(
        each["DBSnapshotIdentifier"] for each in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    )


def create_theirs(rds, name=NAME, **other):
    rds.create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.t3.micro",
        Engine=other.pop("Engine", "postgres"),
        AllocatedStorage=20,
        MasterUsername="theirs",
        MasterUserPassword="not a secret",
        **other,
    )

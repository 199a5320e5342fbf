"""What somebody might do to everything behind our back, by the task that has to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.aws.dags import ADMIN, BUCKET, CLUSTER

if TYPE_CHECKING:
    from tests.aws.simulation import Simulation

OF_CLUSTER = {"clusterName": CLUSTER}
ANYTHING = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
ANYBODY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}'


def meddle(simulation: Simulation) -> set[str]:
    """Change or remove what the bootstrap built, and return the tasks that it was built by."""
    _in_iam(simulation.boto("iam"))
    _in_bucket(simulation.boto("s3"))
    _in_network(simulation.boto("ec2"))
    _in_eks(simulation.boto("eks"), simulation.boto("iam"))
    simulation.boto("rds").modify_db_instance(
        DBInstanceIdentifier=CLUSTER, BackupRetentionPeriod=1, DeletionProtection=False, ApplyImmediately=True
    )
    return {
        *("cluster_role", "node_role", "worker_role", "oidc", "bucket", "network", "database_access", "database"),
        *("cluster", "nodes", "addon_kube-proxy", "access", "pod_identity"),
    }


def _in_iam(iam: Any) -> None:
    iam.update_assume_role_policy(RoleName=f"{CLUSTER}-cluster", PolicyDocument=ANYBODY)
    iam.detach_role_policy(RoleName=f"{CLUSTER}-node", PolicyArn="arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy")
    iam.attach_role_policy(RoleName=f"{CLUSTER}-node", PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    iam.put_role_policy(RoleName=f"{CLUSTER}-worker", PolicyName="logs", PolicyDocument=ANYTHING)
    iam.put_role_policy(RoleName=f"{CLUSTER}-worker", PolicyName="more", PolicyDocument=ANYTHING)
    (provider,) = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider["Arn"])


def _in_bucket(s3: Any) -> None:
    s3.delete_public_access_block(Bucket=BUCKET)
    s3.delete_bucket_encryption(Bucket=BUCKET)
    s3.delete_bucket_lifecycle(Bucket=BUCKET)
    s3.delete_bucket_policy(Bucket=BUCKET)


def _in_network(ec2: Any) -> None:
    ours = [{"Name": "tag:kubernetes.io/role/internal-elb", "Values": ["1"]}]
    subnets = ec2.describe_subnets(Filters=ours)["Subnets"]
    ec2.delete_tags(Resources=[subnets[0]["SubnetId"]], Tags=[{"Key": "kubernetes.io/role/internal-elb"}])
    by_name = [{"Name": "group-name", "Values": [f"{CLUSTER}-database"]}]
    (group,) = ec2.describe_security_groups(Filters=by_name)["SecurityGroups"]
    ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )


def _in_eks(eks: Any, iam: Any) -> None:
    eks.update_cluster_config(
        name=CLUSTER, resourcesVpcConfig={"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]}
    )
    eks.update_cluster_config(
        name=CLUSTER, logging={"clusterLogging": [{"types": ["audit", "authenticator"], "enabled": False}]}
    )
    eks.update_cluster_config(name=CLUSTER, upgradePolicy={"supportType": "EXTENDED"})
    eks.update_nodegroup_config(
        **OF_CLUSTER,
        nodegroupName="nodes",
        labels={"removeLabels": ["airflow-eks-dask/role"]},
        taints={"addOrUpdateTaints": [{"key": "a", "value": "b", "effect": "NO_SCHEDULE"}]},
        scalingConfig={"minSize": 0, "maxSize": 9, "desiredSize": 1},
    )
    eks.delete_addon(**OF_CLUSTER, addonName="kube-proxy")
    eks.update_access_entry(**OF_CLUSTER, principalArn=ADMIN, kubernetesGroups=["strangers"])
    eks.disassociate_access_policy(
        **OF_CLUSTER,
        principalArn=ADMIN,
        policyArn="arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
    )
    (association,) = eks.list_pod_identity_associations(**OF_CLUSTER, namespace="dask")["associations"]
    eks.update_pod_identity_association(
        **OF_CLUSTER,
        associationId=association["associationId"],
        roleArn=iam.get_role(RoleName=f"{CLUSTER}-ebs_csi")["Role"]["Arn"],
    )

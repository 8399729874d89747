from torch import nn

from dann_search import BackboneSpec, register_backbone
from dann_search.models.backbone import StagedBackbone


@register_backbone(
    BackboneSpec(name="tiny", stages=("stem", "body", "top"), image_size=64, smallest=16)
)
def build(state):
    def stage(inputs, outputs):
        conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    stages = {"stem": stage(3, 16), "body": stage(16, 32), "top": stage(32, 64)}
    backbone = StagedBackbone(stages, feature_size=64)
    if state is not None:
        backbone.load_state_dict(state)
    return backbone

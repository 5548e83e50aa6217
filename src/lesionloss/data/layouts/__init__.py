"""One module per folder layout; what is registered here is recognised, in this order."""

from lesionloss.data.layouts import (
    acdc,
    bids,
    bus2017,
    cvc_clinicdb,
    drive,
    dsb2018,
    hippocampus,
    isbi2015,
    isic2018,
    lit,
    ljubljana,
    manifest,
    msseg2,
    msseg2_bids,
    msseg2016,
    nnunet,
    synapse,
    wmh2017,
)
from lesionloss.data.layouts.records import layouts

LONGITUDINAL = (lit, msseg2, msseg2_bids)
CROSS_SECTIONAL = (msseg2016, isbi2015, wmh2017, ljubljana)
GENERAL = (nnunet, bids, manifest)
PICTURES = (drive, bus2017, dsb2018, isic2018, cvc_clinicdb)
ORGANS = (synapse, acdc, hippocampus)

for _module in (*LONGITUDINAL, *CROSS_SECTIONAL, *GENERAL, *PICTURES, *ORGANS):
    layouts.add(_module.LAYOUT.name, _module.LAYOUT)

__all__ = ["layouts"]

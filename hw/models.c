/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Models of devices that the emulator knows by itself. */
#include "qemu/osdep.h"

#include "hw/device.h"

#define BRIDGE  .category = DEVICE_CATEGORY_BRIDGE
#define USB     .category = DEVICE_CATEGORY_USB
#define STORAGE .category = DEVICE_CATEGORY_STORAGE
#define OTHER(category_) .kind = DEVICE_OTHER, .category = DEVICE_CATEGORY_##category_
#define CONTROLLER(bus_, slots_, prefix) \
    .kind = DEVICE_CONTROLLER, .provides = bus_, .buses = 1, .slots = slots_, .bus_prefix = prefix
#define DISK .kind = DEVICE_DISK
#define CDROM .kind = DEVICE_CDROM
#define VIRTIO_SCSI CONTROLLER("SCSI", 0, "scsi"), .takes_iothread = true

const DeviceModel device_models[] = {
    { "pci-bridge", NULL, "PCI", CONTROLLER("PCI", 0, "pci"), BRIDGE,
      .desc = "Standard PCI Bridge" },
    { "pcie-pci-bridge", NULL, "PCI", CONTROLLER("PCI", 0, "pci"), BRIDGE },
    { "pcie-root-port", NULL, "PCI", CONTROLLER("PCI", 1, "pcie"), BRIDGE,
      .desc = "PCI Express Root Port" },

    { "ich9-usb-ehci1", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },
    { "ich9-usb-uhci1", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },
    { "ich9-usb-uhci2", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },
    { "ich9-usb-uhci3", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },
    { "nec-usb-xhci", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },
    { "piix3-usb-uhci", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },
    { "qemu-xhci", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },
    { "usb-ehci", NULL, "PCI", CONTROLLER("usb-bus", 0, "usb-bus"), USB },

    { "ahci", NULL, "PCI", .kind = DEVICE_CONTROLLER, STORAGE, .provides = "IDE",
      .buses = 6, .slots = 1, .bus_prefix = "ide" },
    { "ich9-ahci", NULL, "PCI", .kind = DEVICE_CONTROLLER, STORAGE, .provides = "IDE",
      .buses = 6, .slots = 1, .bus_prefix = "ide" },
    { "floppy", NULL, "floppy-bus", .kind = DEVICE_FLOPPY, STORAGE, .desc = "virtual floppy drive" },
    { "ide-cd", NULL, "IDE", CDROM, STORAGE, .desc = "virtual IDE CD-ROM" },
    { "ide-hd", NULL, "IDE", DISK, STORAGE, .desc = "virtual IDE disk" },
    { "isa-fdc", NULL, "ISA", CONTROLLER("floppy-bus", 2, "floppy-bus"), STORAGE,
      .desc = "virtual floppy controller" },
    { "lsi53c810", NULL, "PCI", CONTROLLER("SCSI", 0, "scsi"), STORAGE },
    { "lsi53c895a", "lsi", "PCI", CONTROLLER("SCSI", 0, "scsi"), STORAGE },
    { "megasas", NULL, "PCI", CONTROLLER("SCSI", 0, "scsi"), STORAGE,
      .desc = "LSI MegaRAID SAS 1078" },
    { "mptsas1068", NULL, "PCI", CONTROLLER("SCSI", 0, "scsi"), STORAGE, .desc = "LSI SAS 1068" },
    { "nvme", NULL, "PCI", DISK, STORAGE, .desc = "Non-Volatile Memory Express" },
    { "scsi-cd", NULL, "SCSI", CDROM, STORAGE, .desc = "virtual SCSI CD-ROM" },
    { "scsi-hd", NULL, "SCSI", DISK, STORAGE, .desc = "virtual SCSI disk" },
    { "usb-storage", NULL, "usb-bus", DISK, STORAGE },
    { "virtio-blk-ccw", NULL, "virtual-css-bus", DISK, STORAGE, .takes_iothread = true,
      .not_by_user = true },
    { "virtio-blk-device", NULL, "virtio-bus", DISK, STORAGE, .takes_iothread = true },
    { "virtio-blk-pci", "virtio-blk", "PCI", DISK, STORAGE, .takes_iothread = true },
    { "virtio-scsi-device", NULL, "virtio-bus", VIRTIO_SCSI, STORAGE },
    { "virtio-scsi-pci", "virtio-scsi", "PCI", VIRTIO_SCSI, STORAGE },

    { "e1000", "e1000-82540em", "PCI", OTHER(NETWORK) },
    { "virtio-net-pci", "virtio-net", "PCI", OTHER(NETWORK) },

    { "isa-serial", NULL, "ISA", OTHER(INPUT) },
    { "usb-tablet", NULL, "usb-bus", OTHER(INPUT) },
    { "virtio-serial-pci", "virtio-serial", "PCI",
      CONTROLLER("virtio-serial-bus", 0, "virtio-serial-bus"),
      .category = DEVICE_CATEGORY_INPUT },
    { "virtconsole", NULL, "virtio-serial-bus", OTHER(INPUT) },
    { "virtserialport", NULL, "virtio-serial-bus", OTHER(INPUT) },

    { "VGA", NULL, "PCI", OTHER(DISPLAY) },

    { "virtio-balloon-pci", "virtio-balloon", "PCI", OTHER(MISC) },
    { "virtio-rng-pci", "virtio-rng", "PCI", OTHER(MISC) },
    { NULL },
};

const DeviceModel *any_fn device_find_model(const char *name)
{
    const DeviceModel *m = device_models;

    while (m->name && strcmp(m->name, name) != 0 && g_strcmp0(m->alias, name) != 0) {
        m++;
    }
    return m->name ? m : NULL;
}

bool any_fn device_model_is_disk(const DeviceModel *model)
{
    return model->kind >= DEVICE_DISK;
}

/* ---- properties ---- */

/* "name=<type>", each in front of what says more of it. */
static const char *const of_disks[] = {
    "account-failed=<OnOffAuto>", "account-invalid=<OnOffAuto>", "backend_defaults=<OnOffAuto>",
    "bootindex=<int32>", "discard_granularity=<size>", "drive=<str>", "logical_block_size=<size>",
    "min_io_size=<size>", "opt_io_size=<size>", "physical_block_size=<size>",
    "rerror=<BlockdevOnError>", "serial=<str>", "share-rw=<bool>", "werror=<BlockdevOnError>",
    "write-cache=<OnOffAuto>", NULL,
};
static const char *const of_pci[] = {
    "acpi-index=<uint32>", "addr=<int32>", "failover_pair_id=<str>", "multifunction=<bool>",
    "rombar=<uint32>", "romfile=<str>", "romsize=<uint32>", NULL,
};
static const char *const of_virtio[] = {
    "any_layout=<bool>", "ats=<bool>", "class=<uint32>", "disable-legacy=<OnOffAuto>",
    "disable-modern=<bool>", "event_idx=<bool>", "indirect_desc=<bool>", "ioeventfd=<bool>",
    "iommu_platform=<bool>", "packed=<bool>", "page-per-vq=<bool>", "vectors=<uint32>", NULL,
};
static const char *const of_iothread[] = { "iothread=<link<iothread>>", NULL };
static const char *const of_virtio_blk[] = {
    "config-wce=<bool>", "cyls=<uint32>", "discard=<bool>", "heads=<uint32>",
    "max-discard-sectors=<uint32>", "max-write-zeroes-sectors=<uint32>", "num-queues=<uint16>",
    "queue-size=<uint16>", "request-merging=<bool>", "scsi=<bool>", "secs=<uint32>",
    "seg-max-adjust=<bool>", "write-zeroes=<bool>", NULL,
};
static const char *const of_virtio_scsi[] = {
    "cmd_per_lun=<uint32>", "hotplug=<bool>", "max_sectors=<uint32>", "num_queues=<uint32>",
    "param_change=<bool>", "virtqueue_size=<uint32>", NULL,
};
static const char *const of_scsi[] = {
    "channel=<uint32>", "device_id=<str>", "dpofua=<bool>", "lun=<uint32>",
    "max_io_size=<uint64>", "max_unmap_size=<uint64>", "port_index=<uint16>", "product=<str>",
    "removable=<bool>", "rotation_rate=<uint16>", "scsi-id=<uint32>", "scsi_version=<int32>",
    "vendor=<str>", "ver=<str>", "wwn=<uint64>", NULL,
};
static const char *const of_ide[] = {
    "cyls=<uint32>", "heads=<uint32>", "model=<str>", "rotation_rate=<uint16>", "secs=<uint32>",
    "unit=<uint32>", "ver=<str>", "wwn=<uint64>", NULL,
};
static const char *const of_floppy[] = { "drive-type=<FdcDriveType>", "unit=<uint32>", NULL };
static const char *const of_bridge[] = {
    "chassis=<uint8>", "chassis_nr=<uint8>", "hotplug=<bool>", "msi=<OnOffAuto>", "port=<uint8>",
    "shpc=<bool>", "slot=<uint16>", NULL,
};
static const char *const of_usb[] = { "port=<str>", "removable=<bool>", NULL };

static void add(GPtrArray *to, const char *const *pieces)
{
    for (; *pieces; pieces++) {
        g_ptr_array_add(to, g_strdup(*pieces));
    }
}

static int compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **any_fn device_model_properties(const DeviceModel *m)
{
    const struct {
        bool has;
        const char *const *pieces;
    } groups[] = {
        { device_model_is_disk(m), of_disks },
        { strcmp(m->bus, "PCI") == 0, of_pci },
        { g_str_has_prefix(m->name, "virtio-"), of_virtio },
        { m->takes_iothread, of_iothread },
        { g_str_has_prefix(m->name, "virtio-blk"), of_virtio_blk },
        { g_str_has_prefix(m->name, "virtio-scsi"), of_virtio_scsi },
        { strcmp(m->bus, "SCSI") == 0, of_scsi },
        { strcmp(m->bus, "IDE") == 0, of_ide },
        { strcmp(m->bus, "floppy-bus") == 0, of_floppy },
        { m->category == DEVICE_CATEGORY_BRIDGE, of_bridge },
        { strcmp(m->bus, "usb-bus") == 0, of_usb },
    };
    GPtrArray *all = g_ptr_array_new();

    for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
        if (groups[i].has) {
            add(all, groups[i].pieces);
        }
    }
    g_ptr_array_sort(all, compare);
    g_ptr_array_add(all, NULL);
    return (char **)g_ptr_array_free(all, FALSE);
}

bool any_fn device_model_has_property(const DeviceModel *m, const char *name)
{
    g_auto(GStrv) all = device_model_properties(m);
    bool found = m->kind == DEVICE_OTHER;       /* what it has is of no matter here */

    for (char **p = all; *p && !found; p++) {
        found = strcspn(*p, "=") == strlen(name) && g_str_has_prefix(*p, name);
    }
    return found;
}

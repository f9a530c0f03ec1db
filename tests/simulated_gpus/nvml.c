/* A simulated libnvidia-ml.so.1: it answers, through NVML's own functions and structures, what the text file named by
 * SIMULATED_NVML says. One line each, in the order of the bus:
 *
 *     GPU <uuid> <busy percent> <used bytes> <milliwatts> [<bytes of its memory>]
 *     MIG <uuid> <used bytes>        a part of the GPU above
 *     FREE                           a place for a part on the GPU above, where there is none
 *     DENIED                         a GPU that this process may not open
 *     OLD                            a driver that has no second version of the memory's structure
 *     HANGS                          a driver that does not answer
 *
 * Without the file no driver is loaded. As in NVML, whatever is asked before the start or after the end is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
       DRIVER_NOT_LOADED = 9, FUNCTION_NOT_FOUND = 13 };
enum { MOST = 64 };

struct entry { char kind[8], uuid[96]; unsigned busy, milliwatts; unsigned long long used, total; };
struct utilization { unsigned gpu, memory; };
struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

static struct entry entries[MOST];
static int count, users, is_old, hangs;

static int is(const struct entry *entry, const char *kind) { return strcmp(entry->kind, kind) == 0; }
static int is_device(const struct entry *entry) { return is(entry, "GPU") || is(entry, "DENIED"); }

int nvmlInitWithFlags(unsigned flags)
{
    const char *path = getenv("SIMULATED_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    (void)flags;
    if (!file)
        return DRIVER_NOT_LOADED;
    count = is_old = hangs = 0;
    while (count < MOST && fgets(line, sizeof line, file)) {
        is_old |= strncmp(line, "OLD", 3) == 0;
        hangs |= strncmp(line, "HANGS", 5) == 0;
        if (strncmp(line, "OLD", 3) == 0 || strncmp(line, "HANGS", 5) == 0)
            continue;
        struct entry *entry = &entries[count];
        memset(entry, 0, sizeof *entry);
        sscanf(line, "%7s %95s", entry->kind, entry->uuid);
        if (is(entry, "GPU"))
            sscanf(line, "%*s %*s %u %llu %u %llu", &entry->busy, &entry->used, &entry->milliwatts, &entry->total);
        else if (is(entry, "MIG"))
            sscanf(line, "%*s %*s %llu", &entry->used);
        count++;
    }
    fclose(file);
    users++;
    return SUCCESS;
}

int nvmlShutdown(void) { return users > 0 ? (users--, SUCCESS) : UNINITIALIZED; }

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    if (!users)
        return UNINITIALIZED;
    snprintf(version, length, "580.65.06");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *devices)
{
    if (!users)
        return UNINITIALIZED;
    if (hangs)
        sleep(600);
    *devices = 0;
    for (int place = 0; place < count; place++)
        *devices += is_device(&entries[place]);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct entry **handle)
{
    if (!users)
        return UNINITIALIZED;
    for (int place = 0; place < count; place++)
        if (is_device(&entries[place]) && index-- == 0) {
            *handle = &entries[place];
            return is(*handle, "DENIED") ? NO_PERMISSION : SUCCESS;
        }
    return INVALID_ARGUMENT;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct entry **handle)
{
    if (!users)
        return UNINITIALIZED;
    for (int place = 0; place < count; place++)
        if (strcmp(entries[place].uuid, uuid) == 0) {
            *handle = &entries[place];
            return SUCCESS;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(struct entry *handle, char *uuid, unsigned length)
{
    snprintf(uuid, length, "%s", handle->uuid);
    return users ? SUCCESS : UNINITIALIZED;
}

static unsigned places_on(const struct entry *device)
{
    unsigned places = 0;
    while (device + 1 + places < entries + count && !is_device(device + 1 + places))
        places++;
    return places;
}

int nvmlDeviceGetMigMode(struct entry *handle, unsigned *present, unsigned *pending)
{
    if (is_old)
        return NOT_SUPPORTED;
    *present = *pending = places_on(handle) > 0;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct entry *handle, unsigned *most)
{
    *most = places_on(handle);
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct entry *handle, unsigned index, struct entry **part)
{
    *part = handle + 1 + index;
    return is(*part, "MIG") ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetUtilizationRates(struct entry *handle, struct utilization *rates)
{
    rates->gpu = handle->busy;
    return is(handle, "GPU") && !places_on(handle) ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetPowerUsage(struct entry *handle, unsigned *milliwatts)
{
    *milliwatts = handle->milliwatts;
    return is(handle, "GPU") ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetMemoryInfo(struct entry *handle, struct memory *memory)
{
    memory->used = handle->used;
    memory->total = handle->total;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(struct entry *handle, struct memory_v2 *memory)
{
    if (is_old)
        return FUNCTION_NOT_FOUND;
    if (memory->version != (sizeof *memory | 2u << 24))
        return INVALID_ARGUMENT;
    memory->used = handle->used;
    return SUCCESS;
}

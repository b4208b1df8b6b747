"""How processes that train get their memory."""

# Logits over a vocabulary are tensors of many megabytes. glibc gives each new pages and hands them back at once;
# kept in the heap, a step of pre-training distillation on a CPU takes 1.87 s instead of 2.41 (docs/log.md). Workers
# that are measured never get these: their memory would be another.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}

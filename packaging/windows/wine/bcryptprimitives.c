// Wine 8 lacks the library of which Go takes random numbers. This one takes them
// of Wine's own generator; only tests see it.
#include <windows.h>
#include <ntsecapi.h>

BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
	while (size > 0) {
		ULONG some = size > 1 << 20 ? 1 << 20 : size;
		if (!RtlGenRandom(data, some))
			return FALSE;
		data += some;
		size -= some;
	}
	return TRUE;
}

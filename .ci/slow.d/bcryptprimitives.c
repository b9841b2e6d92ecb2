/* The one function of bcryptprimitives.dll that Rust's standard library wants. Every Windows since 7 has that library; Wine has
 * it since 9 and Debian 12 has Wine 8, so the slow lane puts this beside the program. It is no part of the program. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    while (length > 0) {
        ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!RtlGenRandom(data, part))
            return FALSE;
        data += part;
        length -= part;
    }
    return TRUE;
}

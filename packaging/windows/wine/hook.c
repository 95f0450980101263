// A hook for the test under Wine: hook.exe FOLDER writes each request into
// FOLDER\requests and accepts it. While there is a FOLDER\hang it starts a child
// that adds to FOLDER\beats for ever, and hangs.
#include <stdio.h>
#include <windows.h>

static FILE *file(const char *folder, const char *name, const char *mode)
{
	char path[MAX_PATH];
	snprintf(path, sizeof path, "%s\\%s", folder, name);
	return fopen(path, mode);
}

static void add(const char *folder, const char *name, const char *text, size_t size)
{
	FILE *f = file(folder, name, "ab");
	if (f == NULL)
		exit(75);
	fwrite(text, 1, size, f);
	fclose(f);
}

int main(int argc, char **argv)
{
	static char request[65536], command[2 * MAX_PATH];
	STARTUPINFOA start = {sizeof start};
	PROCESS_INFORMATION child;
	FILE *hang;

	if (argc > 2)
		for (;; Sleep(50))
			add(argv[1], "beats", ".", 1);
	size_t size = fread(request, 1, sizeof request, stdin);
	add(argv[1], "requests", request, size);
	add(argv[1], "requests", "\n", 1);
	if ((hang = file(argv[1], "hang", "rb")) == NULL)
		return 0;
	fclose(hang);
	snprintf(command, sizeof command, "\"%s\" \"%s\" beat", argv[0], argv[1]);
	if (!CreateProcessA(NULL, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &child))
		return 75;
	Sleep(INFINITE);
	return 0;
}

/*
 * A machine's accounts for tests under wine, put over its netapi32.dll: wine has
 * no accounts that other processes see. The layouts are those of the headers,
 * not ours, and what does not fit ends the test.
 *
 * All processes share what is in the folder SSMAGENT_RECORDER: "state", the
 * account; "calls", a line for each call; "role", the answer of
 * DsRoleGetPrimaryDomainInformation; "elevation", the kind of token that
 * interactive log-ons give; and "fault.CALL", which holds the code that CALL
 * answers with, and how many times (-1: always).
 *
 * LogonUserW, GetTokenInformation, DuplicateTokenEx and LookupAccountSidW belong
 * to advapi32, which nothing may be put over. Tests find them here. Their tokens
 * are real ones of the calling process, so that handles can be counted.
 */
#define UNICODE
#include <windows.h>
#include <dsrole.h>
#include <lm.h>
#include <stdarg.h>
#include <stdio.h>

#define NAME L"ssm-user"
#define GROUP L"Administratoren"

static struct {
	DWORD exists, flags, member;
	WCHAR password[PWLEN + 1];
} account;

static HANDLE mutex;
static WCHAR folder[MAX_PATH];
static LONG outstanding; /* buffers of this process */

/* given are the tokens that this process got; a place may be used again. */
static HANDLE given[256];
static DWORD given_count;

static FILE *file(const char *name, const WCHAR *mode)
{
	WCHAR path[2 * MAX_PATH];
	swprintf(path, 2 * MAX_PATH, L"%ls\\%hs", folder, name);
	return _wfopen(path, mode);
}

static void record(const char *format, ...)
{
	va_list args;
	FILE *f = file("calls", L"ab");
	if (!f)
		abort();
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	fputc('\n', f);
	fclose(f);
}

BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved)
{
	(void)self, (void)reserved;
	if (reason == DLL_PROCESS_ATTACH)
		mutex = CreateMutexW(NULL, FALSE, L"ssmagent-recorder");
	return mutex != NULL;
}

/* enter takes the machine for one call. */
static void enter(void)
{
	FILE *f;
	if (WaitForSingleObject(mutex, 60000) == WAIT_TIMEOUT)
		abort();
	if (!GetEnvironmentVariableW(L"SSMAGENT_RECORDER", folder, MAX_PATH))
		abort();
	memset(&account, 0, sizeof account);
	if ((f = file("state", L"rb"))) {
		fread(&account, sizeof account, 1, f);
		fclose(f);
	}
}

/* leave writes what became of it over what was: who reads meanwhile always finds
 * a whole account. */
static DWORD leave(DWORD code)
{
	FILE *f = file("state", L"r+b");
	if (!f)
		f = file("state", L"wb");
	if (!f || fwrite(&account, sizeof account, 1, f) != 1 || fclose(f))
		abort();
	ReleaseMutex(mutex);
	return code;
}

static BOOL leave_last(DWORD code)
{
	leave(code);
	SetLastError(code);
	return code == 0;
}

/* fault is what a call is to answer instead of doing anything; 0: nothing. */
static DWORD fault(const char *call)
{
	char name[64];
	DWORD code = 0;
	int times = 0;
	FILE *f;
	snprintf(name, sizeof name, "fault.%s", call);
	if (!(f = file(name, L"rb")))
		return 0;
	if (fscanf(f, "%lu %d", &code, &times) != 2)
		abort();
	fclose(f);
	if (times == 0)
		return 0;
	if (times > 0) {
		if (!(f = file(name, L"wb")))
			abort();
		fprintf(f, "%lu %d", code, times - 1);
		fclose(f);
	}
	record("%s fault %lu", call, code);
	return code;
}

static DWORD setting(const char *name, DWORD otherwise)
{
	DWORD value = otherwise;
	FILE *f = file(name, L"rb");
	if (f) {
		if (fscanf(f, "%lu", &value) != 1)
			abort();
		fclose(f);
	}
	return value;
}

static void *buffer(size_t size)
{
	InterlockedIncrement(&outstanding);
	return HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, size);
}

LONG WINAPI rec_Outstanding(void) { return outstanding; }

/* rec_Tokens is how many of the tokens that this process got are still open. */
DWORD WINAPI rec_Tokens(void)
{
	DWORD i, n = 0, type, got;
	enter();
	for (i = 0; i < given_count; i++)
		n += GetTokenInformation(given[i], TokenType, &type, sizeof type, &got) != 0;
	return leave(n);
}

static DWORD give(DWORD code, HANDLE *token)
{
	DWORD i;
	if (code)
		return code;
	for (i = 0; i < given_count && given[i] != *token; i++)
		;
	if (i == sizeof given / sizeof *given)
		abort();
	given[i] = *token;
	if (i == given_count)
		given_count++;
	return 0;
}

NET_API_STATUS WINAPI rec_NetApiBufferFree(void *p)
{
	InterlockedDecrement(&outstanding);
	HeapFree(GetProcessHeap(), 0, p);
	return 0;
}

void WINAPI rec_DsRoleFreeMemory(void *p) { rec_NetApiBufferFree(p); }

NET_API_STATUS WINAPI rec_NetUserAdd(LPCWSTR server, DWORD level, BYTE *b, DWORD *parameter)
{
	USER_INFO_1 *u = (USER_INFO_1 *)b;
	DWORD code;
	enter();
	if ((code = fault("NetUserAdd")))
		return leave(code);
	record("NetUserAdd server=%d level=%lu name=%ls length=%zu age=%lu priv=%lu home=%d comment=%d flags=%lu script=%d parameter=%d",
	       server != NULL, level, u->usri1_name, wcslen(u->usri1_password), u->usri1_password_age, u->usri1_priv,
	       u->usri1_home_dir != NULL, u->usri1_comment != NULL, u->usri1_flags, u->usri1_script_path != NULL, parameter != NULL);
	if (account.exists)
		return leave(NERR_UserExists);
	account.exists = 1;
	account.flags = u->usri1_flags | UF_NORMAL_ACCOUNT;
	wcsncpy(account.password, u->usri1_password, PWLEN);
	return leave(0);
}

NET_API_STATUS WINAPI rec_NetUserSetInfo(LPCWSTR server, LPCWSTR name, DWORD level, BYTE *b, DWORD *parameter)
{
	char call[32];
	DWORD code;
	enter();
	snprintf(call, sizeof call, "NetUserSetInfo%lu", level);
	if ((code = fault(call)))
		return leave(code);
	if (server || parameter || wcscmp(name, NAME) || (level != 1003 && level != 1008))
		return leave(ERROR_INVALID_PARAMETER);
	if (level == 1003)
		record("NetUserSetInfo 1003 %ls", ((USER_INFO_1003 *)b)->usri1003_password);
	else
		record("NetUserSetInfo 1008 flags=%lu", ((USER_INFO_1008 *)b)->usri1008_flags);
	if (!account.exists)
		return leave(NERR_UserNotFound);
	if (level == 1003)
		wcsncpy(account.password, ((USER_INFO_1003 *)b)->usri1003_password, PWLEN);
	else
		account.flags = ((USER_INFO_1008 *)b)->usri1008_flags;
	return leave(0);
}

NET_API_STATUS WINAPI rec_NetUserGetInfo(LPCWSTR server, LPCWSTR name, DWORD level, BYTE **b)
{
	USER_INFO_1 *u;
	DWORD code;
	enter();
	if ((code = fault("NetUserGetInfo")))
		return leave(code);
	if (server || level != 1 || wcscmp(name, NAME))
		return leave(ERROR_INVALID_PARAMETER);
	if (!account.exists)
		return leave(NERR_UserNotFound);
	u = buffer(sizeof *u + sizeof NAME);
	u->usri1_name = wcscpy((WCHAR *)(u + 1), NAME);
	u->usri1_password_age = 0x11111111; /* what is not asked for is not zero */
	u->usri1_priv = 0x22222222;
	u->usri1_flags = account.flags;
	*b = (BYTE *)u;
	return leave(0);
}

NET_API_STATUS WINAPI rec_NetUserModalsGet(LPCWSTR server, DWORD level, BYTE **b)
{
	USER_MODALS_INFO_0 *m;
	DWORD code;
	enter();
	if ((code = fault("NetUserModalsGet")))
		return leave(code);
	if (server || level)
		return leave(ERROR_INVALID_LEVEL);
	m = buffer(sizeof *m);
	m->usrmod0_min_passwd_len = 14;
	m->usrmod0_password_hist_len = 24;
	*b = (BYTE *)m;
	return leave(0);
}

NET_API_STATUS WINAPI rec_NetLocalGroupAddMembers(LPCWSTR server, LPCWSTR group, DWORD level, BYTE *b, DWORD n)
{
	DWORD code;
	enter();
	if ((code = fault("NetLocalGroupAddMembers")))
		return leave(code);
	if (server || level != 3 || n != 1)
		return leave(ERROR_INVALID_LEVEL);
	record("NetLocalGroupAddMembers %ls %ls", group, ((LOCALGROUP_MEMBERS_INFO_3 *)b)->lgrmi3_domainandname);
	if (wcscmp(group, GROUP))
		return leave(wcscmp(group, L"Benutzer") ? NERR_GroupNotFound : 0);
	if (account.member)
		return leave(ERROR_MEMBER_IN_ALIAS);
	account.member = 1;
	return leave(0);
}

DWORD WINAPI rec_DsRoleGetPrimaryDomainInformation(LPCWSTR server, DSROLE_PRIMARY_DOMAIN_INFO_LEVEL level, BYTE **b)
{
	DSROLE_PRIMARY_DOMAIN_INFO_BASIC *r;
	DWORD code;
	enter();
	if ((code = fault("DsRoleGetPrimaryDomainInformation")))
		return leave(code);
	if (server || level != DsRolePrimaryDomainInfoBasic)
		return leave(ERROR_INVALID_PARAMETER);
	r = buffer(sizeof *r + sizeof L"LAB");
	r->MachineRole = setting("role", DsRole_RoleStandaloneServer);
	r->Flags = DSROLE_PRIMARY_DOMAIN_GUID_PRESENT;
	r->DomainNameFlat = wcscpy((WCHAR *)(r + 1), L"LAB");
	*b = (BYTE *)r;
	return leave(0);
}

/* Go asks for this when it looks up the account of its own process. */
NET_API_STATUS WINAPI rec_NetGetJoinInformation(LPCWSTR server, LPWSTR *name, NETSETUP_JOIN_STATUS *status)
{
	(void)server;
	*name = buffer(sizeof L"LAB");
	wcscpy(*name, L"LAB");
	*status = NetSetupWorkgroupName;
	return 0;
}

BOOL WINAPI rec_LookupAccountSidW(LPCWSTR server, PSID sid, LPWSTR name, DWORD *n, LPWSTR domain, DWORD *d, PSID_NAME_USE use)
{
	DWORD code;
	enter();
	if ((code = fault("LookupAccountSidW")))
		return leave_last(code);
	if (server || !IsWellKnownSid(sid, WinBuiltinAdministratorsSid) || *n < 32 || *d < 32)
		return leave_last(ERROR_NONE_MAPPED);
	*n = wcslen(wcscpy(name, GROUP));
	*d = wcslen(wcscpy(domain, L"VORDEFINIERT"));
	*use = SidTypeAlias;
	return leave_last(0);
}

/* ours is a token of this process, of a type. */
static DWORD ours(TOKEN_TYPE type, HANDLE *token)
{
	HANDLE t;
	DWORD code = 0;
	if (!OpenProcessToken(GetCurrentProcess(), MAXIMUM_ALLOWED, &t))
		return GetLastError();
	if (!DuplicateTokenEx(t, MAXIMUM_ALLOWED, NULL, SecurityImpersonation, type, token))
		code = GetLastError();
	CloseHandle(t);
	return give(code, token);
}

BOOL WINAPI rec_LogonUserW(LPCWSTR name, LPCWSTR domain, LPCWSTR password, DWORD type, DWORD provider, HANDLE *token)
{
	char call[32];
	DWORD code;
	enter();
	snprintf(call, sizeof call, "LogonUserW%lu", type);
	if ((code = fault(call)))
		return leave_last(code);
	record("LogonUserW %ls %ls type=%lu provider=%lu", name, domain, type, provider);
	if (wcscmp(name, NAME) || !account.exists || wcscmp(password, account.password))
		return leave_last(ERROR_LOGON_FAILURE);
	if (account.flags & UF_ACCOUNTDISABLE)
		return leave_last(ERROR_ACCOUNT_DISABLED);
	return leave_last(ours(type == LOGON32_LOGON_NETWORK ? TokenImpersonation : TokenPrimary, token));
}

/* groups are two, the second of which may be the Administrators. */
static DWORD groups(void *b, DWORD size, DWORD *got)
{
	struct {
		DWORD count;
		SID_AND_ATTRIBUTES all[2];
		BYTE everyone[SECURITY_MAX_SID_SIZE], administrators[SECURITY_MAX_SID_SIZE];
	} *g = b;
	DWORD n = SECURITY_MAX_SID_SIZE, m = SECURITY_MAX_SID_SIZE;
	*got = sizeof *g + 4 * 1024;
	if (size < *got)
		return ERROR_INSUFFICIENT_BUFFER;
	g->count = 1 + account.member;
	g->all[0].Sid = g->everyone;
	g->all[1].Sid = g->administrators;
	if (!CreateWellKnownSid(WinWorldSid, NULL, g->everyone, &n) || !CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, g->administrators, &m))
		return GetLastError();
	return 0;
}

BOOL WINAPI rec_GetTokenInformation(HANDLE token, TOKEN_INFORMATION_CLASS class, void *b, DWORD size, DWORD *got)
{
	char call[32];
	DWORD code;
	enter();
	snprintf(call, sizeof call, "GetTokenInformation%d", class);
	if ((code = fault(call)))
		return leave_last(code);
	switch (class) {
	case TokenElevationType:
		*got = sizeof(TOKEN_ELEVATION_TYPE);
		*(TOKEN_ELEVATION_TYPE *)b = setting("elevation", TokenElevationTypeDefault);
		return leave_last(size < *got ? ERROR_INSUFFICIENT_BUFFER : 0);
	case TokenLinkedToken:
		record("TokenLinkedToken");
		*got = sizeof(TOKEN_LINKED_TOKEN);
		return leave_last(size < *got ? ERROR_INSUFFICIENT_BUFFER : ours(TokenPrimary, &((TOKEN_LINKED_TOKEN *)b)->LinkedToken));
	case TokenGroups:
		return leave_last(groups(b, size, got));
	default:
		if (!GetTokenInformation(token, class, b, size, got))
			return leave_last(GetLastError());
		return leave_last(0);
	}
}

BOOL WINAPI rec_DuplicateTokenEx(HANDLE token, DWORD access, SECURITY_ATTRIBUTES *a, SECURITY_IMPERSONATION_LEVEL level, TOKEN_TYPE type, HANDLE *copy)
{
	DWORD code;
	enter();
	if ((code = fault("DuplicateTokenEx")))
		return leave_last(code);
	record("DuplicateTokenEx access=%#lx level=%d type=%d", access, level, type);
	if (!DuplicateTokenEx(token, access, a, level, type, copy))
		return leave_last(GetLastError());
	return leave_last(give(0, copy));
}

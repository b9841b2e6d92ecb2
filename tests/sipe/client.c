/* A client of the era, without a screen: libpurple with SIPE signs in, says how it went, stays a while, signs out.
 *
 * SIPE_HOME is its folder, SIPE_USER the account as SIPE has it (address,login), SIPE_SERVER the registrar, SIPE_AUTHENTICATION tls-dsk,
 * ntlm or automatic, SIPE_ROOT the root of the servers' certificates, PEM; the password is the first line of its input. Exit status: 0
 * signed in, 2 refused, 3 neither in time, above 63 something that it needs is missing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glib.h>
#include <libxml/parser.h>
#include <purple.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SIPE 1.25.0 calls its XML handlers SAX 2 and has none for namespaces. libxml2 2.9.14 then calls none of them, and SIPE reads no
 * XML at all. Called what they are, they work; nothing else of SIPE is touched. */
int xmlSAXUserParseMemory(xmlSAXHandlerPtr handlers, void *data, const char *text, int length)
{
    int (*parse)(xmlSAXHandlerPtr, void *, const char *, int) = dlsym(RTLD_NEXT, "xmlSAXUserParseMemory");
    xmlSAXHandler honest = *handlers;
    if (honest.initialized == XML_SAX2_MAGIC && !honest.startElementNs && !honest.endElementNs) honest.initialized = 1;
    return parse(&honest, data, text, length);
}

/* The loop of GLib, as libpurple's own example of a client without a screen binds it. */
typedef struct { PurpleInputFunction function; guint result; gpointer data; } Closure;

static gboolean invoke(GIOChannel *source, GIOCondition condition, gpointer data)
{
    Closure *closure = data;
    PurpleInputCondition seen = 0;
    if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) seen |= PURPLE_INPUT_READ;
    if (condition & (G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL)) seen |= PURPLE_INPUT_WRITE;
    closure->function(closure->data, g_io_channel_unix_get_fd(source), seen);
    return TRUE;
}

static guint input_add(gint fd, PurpleInputCondition condition, PurpleInputFunction function, gpointer data)
{
    Closure *closure = g_new0(Closure, 1);
    GIOCondition wanted = 0;
    closure->function = function;
    closure->data = data;
    if (condition & PURPLE_INPUT_READ) wanted |= G_IO_IN | G_IO_HUP | G_IO_ERR;
    if (condition & PURPLE_INPUT_WRITE) wanted |= G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL;
    GIOChannel *channel = g_io_channel_unix_new(fd);
    closure->result = g_io_add_watch_full(channel, G_PRIORITY_DEFAULT, wanted, invoke, closure, g_free);
    g_io_channel_unref(channel);
    return closure->result;
}

static PurpleEventLoopUiOps loop_ops = {
    g_timeout_add, g_source_remove, input_add, g_source_remove, NULL, g_timeout_add_seconds, NULL, NULL, NULL
};
static PurpleCoreUiOps core_ops;
static GMainLoop *loop;
static int outcome = 1;

static gboolean sign_off(gpointer account)
{
    purple_account_set_enabled(account, "driver", FALSE);
    return FALSE;
}

/* It stays for some seconds: a client asks for much once it is signed in, and may fall over an answer. */
static void signed_on(PurpleConnection *connection, gpointer data)
{
    (void)data;
    printf("signed on: %s\n", purple_account_get_username(purple_connection_get_account(connection)));
    outcome = 0;
    g_timeout_add_seconds(5, sign_off, purple_connection_get_account(connection));
}

static void signed_off(PurpleConnection *connection, gpointer data)
{
    (void)connection; (void)data;
    printf("signed off\n");
    g_main_loop_quit(loop);
}

static void failed(PurpleConnection *connection, PurpleConnectionError error, const gchar *text, gpointer data)
{
    (void)connection; (void)data;
    printf("connection error %d: %s\n", error, text);
    outcome = 2;
    g_main_loop_quit(loop);
}

static gboolean too_late(gpointer data)
{
    (void)data;
    printf("nothing came of it in time\n");
    outcome = 3;
    g_main_loop_quit(loop);
    return FALSE;
}

/* The root of the lab's servers, for this run alone. */
static void trust(const char *file)
{
    PurpleCertificateScheme *scheme = purple_certificate_find_scheme("x509");
    PurpleCertificatePool *pool = purple_certificate_find_pool("x509", "ca");
    PurpleCertificate *root = scheme ? purple_certificate_import(scheme, file) : NULL;
    if (!pool || !root || !purple_certificate_pool_store(pool, "LAB", root)) {
        fprintf(stderr, "libpurple does not take the root of %s\n", file);
        exit(67);
    }
}

static char *variable(const char *name)
{
    char *value = getenv(name);
    if (!value) { fprintf(stderr, "%s is not set\n", name); exit(64); }
    return value;
}

/* The first line of the input. */
static char *password(void)
{
    static char line[256];
    if (!fgets(line, sizeof line, stdin)) { fprintf(stderr, "there is no password\n"); exit(64); }
    line[strcspn(line, "\n")] = 0;
    return line;
}

int main(void)
{
    int handle;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    purple_util_set_user_dir(variable("SIPE_HOME"));
    purple_debug_set_enabled(TRUE);
    purple_core_set_ui_ops(&core_ops);
    purple_eventloop_set_ui_ops(&loop_ops);
    if (!purple_core_init("driver")) return 65;
    purple_set_blist(purple_blist_new());
    loop = g_main_loop_new(NULL, FALSE);
    if (!purple_find_prpl("prpl-sipe")) { fprintf(stderr, "libpurple has no SIPE\n"); return 66; }
    trust(variable("SIPE_ROOT"));
    PurpleAccount *account = purple_account_new(variable("SIPE_USER"), "prpl-sipe");
    purple_account_set_password(account, password());
    purple_account_set_string(account, "server", variable("SIPE_SERVER"));
    purple_account_set_string(account, "transport", "tls");
    purple_account_set_string(account, "authentication", variable("SIPE_AUTHENTICATION"));
    purple_accounts_add(account);
    purple_signal_connect(purple_connections_get_handle(), "signed-on", &handle, PURPLE_CALLBACK(signed_on), NULL);
    purple_signal_connect(purple_connections_get_handle(), "signed-off", &handle, PURPLE_CALLBACK(signed_off), NULL);
    purple_signal_connect(purple_connections_get_handle(), "connection-error", &handle, PURPLE_CALLBACK(failed), NULL);
    g_timeout_add_seconds(60, too_late, NULL);
    purple_account_set_enabled(account, "driver", TRUE);
    purple_savedstatus_activate(purple_savedstatus_new(NULL, PURPLE_STATUS_AVAILABLE));
    g_main_loop_run(loop);
    return outcome;
}

# Sets the PIN of a mailbox by a cmdlet: an exec hook of dirpin on Windows. See README.md.
#Requires -Version 5.1
$ErrorActionPreference = 'Stop'
[Console]::InputEncoding = [Text.UTF8Encoding]::new($false)
[Console]::OutputEncoding = [Text.UTF8Encoding]::new($false)

$codes = @{ accepted = 0; rejected = 65; 'no-mailbox' = 67; retry = 75; denied = 77 }
$id = ''
function End-Hook([string] $result, [string] $message) {
    if ($message) { [Console]::Out.WriteLine((@{ request_id = $id; result = $result; message = $message } | ConvertTo-Json -Compress)) }
    exit $codes[$result]
}

try { $request = [Console]::In.ReadToEnd() | ConvertFrom-Json; $id = $request.request_id }
catch { End-Hook 'rejected' 'this is no request of dirpin' }

# Exchange Server 2016's Unified Messaging. Put your own system's snap-in and cmdlets here.
try { Add-PSSnapin Microsoft.Exchange.Management.PowerShell.SnapIn }
catch { End-Hook 'denied' 'the Exchange snap-in cannot be loaded' }

switch ($request.operation) {
    'check' { End-Hook 'accepted' '' }
    'set_pin' { }
    default { End-Hook 'rejected' 'unknown operation' }
}

$mailbox = Get-UMMailbox -Identity $request.user.user_id -ErrorAction SilentlyContinue
if (-not $mailbox) { End-Hook 'no-mailbox' 'no UM mailbox of that user id' }

$arguments = @{ Identity = $request.user.user_id; Pin = $request.pin; Confirm = $false }
if ($null -ne $request.settings.must_change) { $arguments.PinExpired = [bool] $request.settings.must_change }
if ($null -ne $request.settings.locked) { $arguments.LockedOut = [bool] $request.settings.locked }
elseif ($request.settings.clear_failed_attempts) { $arguments.LockedOut = $false }

try { Set-UMMailboxPIN @arguments -WarningAction SilentlyContinue | Out-Null }
catch {
    # Its own words may quote the PIN.
    $kind = $_.Exception.GetType().Name
    if ($kind -match 'Pin|Policy|Argument|Validation') { End-Hook 'rejected' $kind }
    [Console]::Error.WriteLine($kind)
    exit 1 # without an answer: lost, and tried again
}
End-Hook 'accepted' ''
